// A token by the role of this process: AWS says who it is (sts:GetWebIdentityToken), and the server verifies that. The answer is JSON.
// Needs software.amazon.awssdk:sts.
import java.net.*;
import java.net.http.*;
import software.amazon.awssdk.services.sts.StsClient;

class Sts {
    static String answer(String issuer) throws Exception {
        try (StsClient sts = StsClient.create()) {
            var identity = sts.getWebIdentityToken(asked -> asked.audience(issuer).signingAlgorithm("ES384").durationSeconds(60));
            String form = "grant_type=client_credentials&client_id=orders&client_assertion=" + identity.webIdentityToken()
                    + "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            var request = HttpRequest.newBuilder(URI.create(issuer + "/access_token"))
                    .header("Content-Type", "application/x-www-form-urlencoded")
                    .POST(HttpRequest.BodyPublishers.ofString(form)).build();
            return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
        }
    }
}
