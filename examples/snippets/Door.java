// The answer to a token request at the door where AWS verifies its signature (SigV4), by the role of this process; at API Gateway the
// service is execute-api. The caller wraps it into a class. Imports: java.net.URI, java.net.http.*, software.amazon.awssdk.auth.credentials.*,
// software.amazon.awssdk.http.*, software.amazon.awssdk.http.auth.aws.signer.AwsV4HttpSigner. Needs software.amazon.awssdk:http-auth-aws and auth.
static String answer(String door, String region) throws Exception {
    var uri = URI.create(door + "/am/oauth2/realms/root/realms/alpha/access_token"); // https://ID.lambda-url.REGION.on.aws
    var form = "grant_type=client_credentials&client_id=orders";
    var unsigned = SdkHttpRequest.builder().method(SdkHttpMethod.POST).uri(uri)
            .putHeader("Content-Type", "application/x-www-form-urlencoded").build();
    try (var credentials = DefaultCredentialsProvider.create()) {
        var signed = AwsV4HttpSigner.create().sign(r -> r.identity(credentials.resolveCredentials())
                .request(unsigned).payload(ContentStreamProvider.fromUtf8String(form))
                .putProperty(AwsV4HttpSigner.SERVICE_SIGNING_NAME, "lambda").putProperty(AwsV4HttpSigner.REGION_NAME, region));
        var request = HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofString(form));
        signed.request().headers().forEach((name, values) -> { if (!name.equalsIgnoreCase("Host")) request.header(name, values.get(0)); });
        return HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString()).body();
    }
}
