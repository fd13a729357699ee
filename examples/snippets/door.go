// The answer to a token request at the door where AWS verifies its signature (SigV4), by the role of this process. cfg is of
// config.LoadDefaultConfig. Imports: context, crypto/sha256, fmt, net/http, strings, time; aws and aws/signer/v4 of github.com/aws/aws-sdk-go-v2.
func tokenAtDoor(ctx context.Context, cfg aws.Config, door string) (*http.Response, error) {
	form := "grant_type=client_credentials&client_id=orders"
	url := door + "/am/oauth2/realms/root/realms/alpha/access_token" // https://ID.lambda-url.REGION.on.aws
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	credentials, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(form)))
	if err = v4.NewSigner().SignHTTP(ctx, credentials, request, digest, "lambda", cfg.Region, time.Now()); err != nil { // or execute-api
		return nil, err
	}
	return http.DefaultClient.Do(request)
}
