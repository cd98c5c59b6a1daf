package cybervault_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/cybervault/cybervault"
)

// The vector was made with openssl, apart from this code:
//
//	printf '{"id":"wh_1"}' | openssl dgst -sha256 -hmac 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE='
const (
	vectorSecret   = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	vectorBody     = `{"id":"wh_1"}`
	vectorHex      = "cabf20733cf2b211f828618de540734779afb21476823418a7f139446e983e5b"
	vectorStandard = "v1,jkeP0V35d2xYeHG4MImG7Pw5gw9Ik1kipc8VRv282uU="
)

func TestSignHex(t *testing.T) {
	t.Parallel()
	if got := cybervault.SignHex(vectorSecret, []byte(vectorBody)); got != vectorHex {
		t.Errorf("%s, want %s", got, vectorHex)
	}
}

func TestSignStandard(t *testing.T) {
	t.Parallel()
	got, err := cybervault.SignStandard(vectorSecret, "wh_1", 1736951520, []byte(vectorBody))
	if err != nil || got != vectorStandard {
		t.Errorf("%s, %v; want %s", got, err, vectorStandard)
	}
	if _, err := cybervault.SignStandard("whsec_***", "wh_1", 1, nil); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("a secret that is not base64: %v", err)
	}
	now := time.Now().Unix()
	if got, err = cybervault.SignStandard(vectorSecret, "wh_1", now, []byte(vectorBody)); err != nil {
		t.Fatal(err)
	}
	official, err := standardwebhooks.NewWebhook(vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	headers := http.Header{}
	headers.Set("webhook-id", "wh_1")
	headers.Set("webhook-timestamp", strconv.FormatInt(now, 10))
	headers.Set("webhook-signature", got)
	if err := official.Verify([]byte(vectorBody), headers); err != nil {
		t.Errorf("the official library refuses it: %v", err)
	}
	if official.Verify([]byte(vectorBody+" "), headers) == nil {
		t.Error("the official library takes a changed body")
	}
}
