package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParanoia(t *testing.T) {
	t.Parallel()
	want := map[string]int{"shop.example.com": 2, "admin.example.com": 4}
	for name, args := range map[string][]string{
		"flags":    {"--paranoia", "3", "--web-sites", "Shop.example.com=2", "--web-sites", "admin.example.com.=4"},
		"one flag": {"--paranoia=3", "--web-sites", "shop.example.com=2,admin.example.com=4"},
	} {
		c, err := load(t, args, nil, "")
		if err != nil || c.Paranoia != 3 {
			t.Fatalf("%s: level %d, %v", name, c.Paranoia, err)
		}
		if d := cmp.Diff(want, c.WebSites); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	c, err := load(t, nil, nil, "paranoia: 3\nweb_sites:\n  - shop.example.com=2\n  - admin.example.com=4\n")
	if err != nil || c.Paranoia != 3 || cmp.Diff(want, c.WebSites) != "" {
		t.Errorf("file: %d, %v, %v", c.Paranoia, c.WebSites, err)
	}
	if !strings.Contains(c.String(), "web_sites=admin.example.com=4,shop.example.com=2") {
		t.Errorf("shown as %s", c)
	}
	for _, args := range [][]string{{"--paranoia", "0"}, {"--paranoia", "five"}, {"--web-sites", "shop"}, {"--web-sites", "shop=5"}, {"--web-sites", "*.shop=2"}, {"--web-sites", "shop:80=2"}} {
		if _, err := load(t, args, nil, ""); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
