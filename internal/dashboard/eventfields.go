package dashboard

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/cybervault/cybervault"
)

// maxFieldLinks bounds how many fields of an event lead to a search.
const maxFieldLinks = 60

// fieldLink leads to the events whose data has the same value at the same place.
type fieldLink struct{ Path, Value, URL string }

// fieldLinks lists the values of an event's data that can be searched for.
func fieldLinks(body []byte) []fieldLink {
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(envelope.Data)))
	decoder.UseNumber()
	var data map[string]any
	if decoder.Decode(&data) != nil {
		return nil
	}
	var links []fieldLink
	addFieldLinks(&links, "", data)
	return links
}

func addFieldLinks(links *[]fieldLink, path string, value any) {
	if len(*links) >= maxFieldLinks || len(path) > cybervault.MaxSearchLength {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			switch {
			case strings.Contains(key, "."): // it would be read as a path
			case path == "":
				addFieldLinks(links, key, v[key])
			default:
				addFieldLinks(links, path+"."+key, v[key])
			}
		}
	case []any:
		for _, one := range v {
			addFieldLinks(links, path, one)
		}
	case string:
		addFieldLink(links, path, v)
	case json.Number:
		addFieldLink(links, path, v.String())
	case bool:
		addFieldLink(links, path, strconv.FormatBool(v))
	}
}

// addFieldLink adds a link where the search would be read as it is meant: a name
// may be any text, and a value longer than a search.
func addFieldLink(links *[]fieldLink, path, value string) {
	text := cybervault.SearchFor(path, value)
	search, err := cybervault.ParseSearch(text)
	if err != nil || value == "" || len(search.Terms) != 1 || search.Terms[0].Field != "data."+path || search.Terms[0].Value != value || strings.ContainsFunc(value, unicode.IsControl) {
		return
	}
	link := fieldLink{Path: cut(path, shownInList), Value: cut(value, shownInList), URL: "/events?" + url.Values{"q": {text}}.Encode()}
	if !slices.Contains(*links, link) {
		*links = append(*links, link)
	}
}
