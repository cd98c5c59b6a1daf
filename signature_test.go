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

// The vector is the one that Svix's server tests its asymmetric signatures with.
const (
	vectorPrivate = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	vectorPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	vectorEd25519 = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

func TestSignEd25519(t *testing.T) {
	t.Parallel()
	const id, at = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
	body := []byte(`{"test": 2432232314}`)
	got, err := cybervault.SignEd25519(vectorPrivate, id, at, body)
	if err != nil || got != vectorEd25519 {
		t.Errorf("%s, %v; want %s", got, err, vectorEd25519)
	}
	if got := cybervault.PublicKey(vectorPrivate); got != vectorPublic {
		t.Errorf("the public key is %s, want %s", got, vectorPublic)
	}
	for _, bad := range []string{"", "whsk_", "whsk_***", vectorPublic, vectorSecret} {
		if _, err := cybervault.SignEd25519(bad, id, at, body); cybervault.ErrorCode(err) != cybervault.CodeInvalid || cybervault.PublicKey(bad) != "" {
			t.Errorf("%q as a key: %v", bad, err)
		}
	}
	for _, test := range []struct {
		signature, id string
		at            int64
		body          string
		want          bool
	}{
		{vectorEd25519, id, at, string(body), true},
		{vectorEd25519, "msg_other", at, string(body), false},
		{vectorEd25519, id, at + 1, string(body), false},
		{vectorEd25519, id, at, string(body) + " ", false},
		{"v1," + vectorEd25519[4:], id, at, string(body), false},
		{"v1a,", id, at, string(body), false},
	} {
		if ok, err := cybervault.VerifyEd25519(vectorPublic, test.signature, test.id, test.at, []byte(test.body)); ok != test.want || err != nil {
			t.Errorf("%+v: %t, %v", test, ok, err)
		}
	}
	if _, err := cybervault.VerifyEd25519(vectorPrivate, vectorEd25519, id, at, body); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("a private key to verify with: %v", err)
	}
	fresh := cybervault.NewSigningKey(time.Now())
	signature, err := cybervault.SignEd25519(fresh.Private, id, at, body)
	if ok, _ := cybervault.VerifyEd25519(cybervault.PublicKey(fresh.Private), signature, id, at, body); err != nil || !ok {
		t.Errorf("a fresh key: %t, %v", ok, err)
	}
}
