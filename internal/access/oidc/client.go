package oidc

import (
	"errors"
	"io"
	"net/http"
)

// maxBody bounds what is read of an answer, unpacked.
const maxBody = 1 << 20

var errTooLarge = errors.New("the answer is larger than 1 MiB")

// bounded returns a client that reads bounded answers in bounded time and follows
// no redirect: neither the secret nor a token goes anywhere but to the addresses
// of the discovery document.
//
//nolint:forbidigo // see Config.Client
func bounded(given *http.Client) *http.Client {
	client := http.Client{}
	if given != nil {
		client = *given
	}
	if client.Transport == nil {
		client.Transport = http.DefaultTransport
	}
	client.Transport = boundedTransport{client.Transport}
	client.Timeout = timeLimit
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

type boundedTransport struct{ next http.RoundTripper }

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &boundedBody{ReadCloser: answer.Body, left: maxBody}
	return answer, nil
}

// boundedBody fails where io.LimitReader would end: half an answer is none.
type boundedBody struct {
	io.ReadCloser

	left int64
}

func (b *boundedBody) Read(into []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(into)) > b.left+1 {
		into = into[:b.left+1]
	}
	n, err := b.ReadCloser.Read(into)
	b.left -= int64(n)
	if b.left < 0 {
		return n, errTooLarge
	}
	return n, err
}
