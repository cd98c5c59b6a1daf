package api

import (
	"bytes"
	"encoding/json"
)

// encode writes JSON with a line end. "<", ">" and "&" stay as they are: the
// answers are no HTML, and are to be read by people too.
func encode(value any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(value)
	return buf.Bytes(), err
}

func writeJSON(c *call, status int, value any) error {
	body, err := encode(value)
	if err != nil {
		return err
	}
	return writeBytes(c, status, body)
}

func writeBytes(c *call, status int, body []byte) error {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // an error means that the caller has gone
	return nil
}
