// A token by the role of this process: AWS says who it is (sts:GetWebIdentityToken), and the server verifies that. cfg is of
// config.LoadDefaultConfig. Imports: context, net/http, net/url; aws and service/sts of github.com/aws/aws-sdk-go-v2.
func tokenBySTS(ctx context.Context, cfg aws.Config, issuer string) (*http.Response, error) {
	identity, err := sts.NewFromConfig(cfg).GetWebIdentityToken(ctx, &sts.GetWebIdentityTokenInput{
		Audience:         []string{issuer}, // https://auth.example.com/am/oauth2/realms/root/realms/alpha
		SigningAlgorithm: aws.String("ES384"),
		DurationSeconds:  aws.Int32(60),
	})
	if err != nil {
		return nil, err
	}
	return http.PostForm(issuer+"/access_token", url.Values{
		"grant_type":            {"client_credentials"},
		"client_id":             {"orders"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {aws.ToString(identity.WebIdentityToken)},
	})
}
