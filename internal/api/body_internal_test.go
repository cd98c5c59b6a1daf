package api

import (
	"bytes"
	"encoding/json"
	"testing"
)

// Splitting an object and an array agrees with encoding/json on whatever is
// valid, to the byte.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, ` { "a" : 1 , "b" : [ {"c":"}]\""} , "\\" ] , "d":"\\\"" , "":null } `, `[1,"a",[],{},true,null,-1.5e3 ]`,
		`{"a\u0062":"\ud83d\ude00","x":{"y":{"z":[[["]"]]]}}}`, `"{"`, `7`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkJSON(body) != nil {
			return
		}
		trimmed := bytes.TrimLeft(body, " \t\r\n")
		switch trimmed[0] {
		case '{':
			var want map[string]json.RawMessage
			if err := json.Unmarshal(body, &want); err != nil {
				t.Fatal(err)
			}
			got, err := members(body, nil)
			if err != nil {
				return // a name that stands twice
			}
			if len(got) != len(want) {
				t.Fatalf("%d members, want %d", len(got), len(want))
			}
			for _, m := range got {
				if !bytes.Equal(m.value, want[m.name]) {
					t.Fatalf("%q: %s, want %s", m.name, m.value, want[m.name])
				}
			}
		case '[':
			var want []json.RawMessage
			if err := json.Unmarshal(body, &want); err != nil {
				t.Fatal(err)
			}
			got := elements(body)
			if len(got) != len(want) {
				t.Fatalf("%d elements, want %d", len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("element %d: %s, want %s", i, got[i], want[i])
				}
			}
		default:
			if _, err := members(body, nil); err == nil {
				t.Fatal("not an object, and taken for one")
			}
		}
	})
}
