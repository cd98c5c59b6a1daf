package dashboard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// signedView is how the signatures of an attempt are made, step by step, so that
// whoever writes a receiver finds the step at which theirs parts from ours.
type signedView struct {
	BodyBytes  string
	BodySHA256 string
	Content    string // what webhook-signature signs, its body shortened
	ContentSHA string
	Checks     []signatureCheck
}

// signatureCheck is one signature that was sent, made again.
type signatureCheck struct {
	Header, Sent string
	How          string
	Verdict      badge
	By           string // which secret or key made it
}

// shownContent is how much of the body stands in the signed content.
const shownContent = 48

// signed makes the signatures of an attempt again. It is nil where nothing was
// sent, or no webhook is left whose secrets would be known.
func signed(a *cybervault.Attempt, e *cybervault.Event, w *cybervault.Webhook) *signedView {
	sent := map[string]string{}
	for _, h := range a.Request {
		sent[strings.ToLower(h.Name)] = h.Value
	}
	seconds, err := strconv.ParseInt(sent["webhook-timestamp"], 10, 64)
	if w == nil || err != nil {
		return nil
	}
	id := sent["webhook-id"]
	head := id + "." + strconv.FormatInt(seconds, 10) + "."
	body := sha256.Sum256(e.Body)
	content := sha256.New()
	content.Write([]byte(head))
	content.Write(e.Body)
	v := &signedView{
		BodyBytes: byteCount(len(e.Body)), BodySHA256: hex.EncodeToString(body[:]),
		Content: head + cut(string(visible(e.Body)), shownContent), ContentSHA: hex.EncodeToString(content.Sum(nil)),
	}
	for _, name := range []string{"X-CyberVault-Signature", "X-CyberVault-Signature-Next"} {
		if value := sent[strings.ToLower(name)]; value != "" {
			by := ""
			for i, s := range w.Secrets {
				if cybervault.SignHex(s.Value, e.Body) == value {
					by = secretName("secret", s.Value, i)
				}
			}
			v.add(name, value, "hex of HMAC-SHA256 of the body, keyed with the secret as it is shown, whsec_ included", by)
		}
	}
	for value := range strings.FieldsSeq(sent["webhook-signature"]) {
		how := "base64 of HMAC-SHA256 of the signed content, keyed with the bytes whose base64 follows whsec_"
		if strings.HasPrefix(value, "v1a,") {
			how = "base64 of the Ed25519 signature of the signed content, to be checked with the public key"
		}
		v.add("webhook-signature", value, how, madeBy(w, value, id, seconds, e.Body))
	}
	return v
}

// madeBy names the secret or key of a webhook that makes a signature of Standard
// Webhooks, or nothing.
func madeBy(w *cybervault.Webhook, value, id string, seconds int64, body []byte) string {
	for i, s := range w.Secrets {
		if made, err := cybervault.SignStandard(s.Value, id, seconds, body); err == nil && made == value {
			return secretName("secret", s.Value, i)
		}
	}
	for i, k := range w.SigningKeys {
		public := cybervault.PublicKey(k.Private)
		if ok, err := cybervault.VerifyEd25519(public, value, id, seconds, body); err == nil && ok {
			return secretName("public key", public, i)
		}
	}
	return ""
}

func (v *signedView) add(header, sent, how, by string) {
	c := signatureCheck{Header: header, Sent: cut(sent, shownInDetail), How: how, By: by, Verdict: badge{Text: "Made again", Tone: "ok"}}
	if by == "" {
		c.Verdict = badge{Text: "Not by what is valid now", Tone: "warn"}
		c.By = "The secret or key it was made with was rotated out since, or the header is one of your own."
	}
	v.Checks = append(v.Checks, c)
}

// secretName tells secrets apart by their last characters; the newest is the first.
func secretName(kind, value string, i int) string {
	age := "newest"
	if i > 0 {
		age = "older"
	}
	return fmt.Sprintf("By the %s %s, which ends in …%s.", age, kind, value[max(len(value)-4, 0):])
}
