package audit

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cybervault/cybervault"
)

// naive is the Merkle tree hash as RFC 6962, section 2.1, defines it.
func naive(leaves []tlog.Hash) tlog.Hash {
	switch n := len(leaves); n {
	case 0:
		return (&Tree{}).Root()
	case 1:
		return leaves[0]
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		return tlog.NodeHash(naive(leaves[:k]), naive(leaves[k:]))
	}
}

// memory keeps the tiles of a tree as the store would.
type memory map[string][]byte

func (m memory) put(level int, index int64, hashes []tlog.Hash) {
	m[fmt.Sprint(level, " ", index)] = flatten(hashes)
}

func (m memory) AuditTile(_ context.Context, level int, index int64) ([]byte, error) {
	b, ok := m[fmt.Sprint(level, " ", index)]
	if !ok {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "no tile")
	}
	return b, nil
}

// The roots of the trees over the leaves of certificate-transparency's own test
// vectors.
func TestRootsOfTheStandardsVectors(t *testing.T) {
	t.Parallel()
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	tree := &Tree{}
	for n, want := range roots {
		if n > 0 {
			leaf, err := hex.DecodeString(leaves[n-1])
			if err != nil {
				t.Fatal(err)
			}
			tree.Append(cybervault.AuditLeafHash(leaf), nil)
		}
		if got := tree.Root(); hex.EncodeToString(got[:]) != want {
			t.Errorf("the root over %d leaves is %x, want %s", n, got, want)
		}
	}
}

// For every size: the root, the tree read again from its tiles, the path of some
// leaves, and that it extends smaller ones.
func TestTreesOfEverySize(t *testing.T) {
	t.Parallel()
	const most = 530 // more than two tiles
	leaves := make([]tlog.Hash, most)
	roots := make([]tlog.Hash, most+1)
	roots[0] = naive(nil)
	tree, tiles := &Tree{}, memory{}
	for i := range leaves {
		leaves[i] = cybervault.AuditLeafHash(fmt.Append(nil, i))
		tree.Append(leaves[i], tiles.put)
		tree.open(tiles.put)
		n := int64(i + 1)
		roots[n] = naive(leaves[:n])
		again, err := loadTree(t.Context(), tiles, n)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Root() != roots[n] || again.Root() != roots[n] || again.Size() != n {
			t.Fatalf("the root over %d leaves is %v, read again %v, want %v", n, tree.Root(), again.Root(), roots[n])
		}
		reader := hashReader(t.Context(), tiles, tlog.Tree{N: n, Hash: roots[n]})
		for _, at := range []int64{n / 3, n - 1} {
			path, err := tlog.ProveRecord(n, at, reader)
			if err != nil || tlog.CheckRecord(path, n, roots[n], at, leaves[at]) != nil {
				t.Fatalf("leaf %d of %d: %v", at, n, err)
			}
			if at > 0 && tlog.CheckRecord(path, n, roots[n], at, leaves[at-1]) == nil {
				t.Fatalf("leaf %d of %d passes for leaf %d", at-1, n, at)
			}
			if at == 0 {
				continue
			}
			older, err := tlog.ProveTree(n, at, reader)
			if err != nil || tlog.CheckTree(older, n, roots[n], at, roots[at]) != nil {
				t.Fatalf("the tree of %d does not extend that of %d: %v", n, at, err)
			}
		}
	}
	// Three levels deep, against tlog's own.
	for i := most; i < 66_000; i++ {
		tree.Append(cybervault.AuditLeafHash(fmt.Append(nil, i)), tiles.put)
	}
	tree.open(tiles.put)
	signed := tlog.Tree{N: tree.Size(), Hash: tree.Root()}
	if root, err := tlog.TreeHash(signed.N, hashReader(t.Context(), tiles, signed)); err != nil || root != signed.Hash {
		t.Errorf("tlog makes another root of the tiles: %v", err)
	}
	if _, err := tiles.AuditTile(t.Context(), 2, 0); err != nil {
		t.Error("the tree has no third level of tiles")
	}
	// A hash that was changed is found, wherever it stands.
	for name := range tiles {
		tiles[name][0] ^= 1
	}
	_, err := tlog.ProveRecord(signed.N, 5, hashReader(t.Context(), tiles, signed))
	if cybervault.ErrorCode(err) != cybervault.CodeConflict || !strings.Contains(err.Error(), "have been changed") {
		t.Errorf("with changed hashes: %v", err)
	}
}

func TestTilePath(t *testing.T) {
	t.Parallel()
	for index, want := range map[int64]string{0: "000", 67: "067", 999: "999", 1000: "x001/000", 1234067: "x001/x234/067"} {
		if got := TilePath(index); got != want {
			t.Errorf("%d: %s, want %s", index, got, want)
		}
	}
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	signer, other := testSigner(t, 1), testSigner(t, 2)
	if again := testSigner(t, 1); again.PublicKey() != signer.PublicKey() || other.PublicKey() == signer.PublicKey() {
		t.Error("a key does not follow from the secret one")
	}
	tree := tlog.Tree{N: 12345, Hash: cybervault.AuditLeafHash([]byte("x"))}
	signed, err := signer.sign(tree)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenCheckpoint(signed, signer.PublicKey())
	if err != nil || opened.Tree != tree || opened.Origin != signer.origin {
		t.Errorf("%+v, %v", opened, err)
	}
	// The lines of C2SP tlog-checkpoint.
	if want := signer.origin + "\n12345\n" + base64.StdEncoding.EncodeToString(tree.Hash[:]) + "\n\n— " + signer.origin + " "; !strings.HasPrefix(signed, want) {
		t.Errorf("the note is %q, want it to begin with %q", signed, want)
	}
	foreign, err := other.sign(tree)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]string{
		"another size":         {strings.Replace(signed, "12345", "12346", 1), signer.PublicKey()},
		"another key":          {signed, other.PublicKey()},
		"signed by another":    {foreign, signer.PublicKey()},
		"another's, renamed":   {strings.ReplaceAll(foreign, other.origin, signer.origin), signer.PublicKey()},
		"no signature":         {strings.SplitAfter(signed, "\n\n")[0], signer.PublicKey()},
		"no key":               {signed, ""},
		"half a key":           {signed, signer.PublicKey()[:40]},
		"nothing":              {"", signer.PublicKey()},
		"more than can be":     {signed + strings.Repeat("x", MaxCheckpoint), signer.PublicKey()},
		"a line before it all": {"x\n" + signed, signer.PublicKey()},
	} {
		if got, err := OpenCheckpoint(c[0], c[1]); err == nil {
			t.Errorf("%s: opened as %+v", name, got)
		}
	}
}

func testSigner(t testing.TB, secret byte) *Signer {
	t.Helper()
	signer, err := NewSigner([]byte(strings.Repeat(string(rune(secret)), 32)))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func FuzzCheckpoint(f *testing.F) {
	signer := testSigner(f, 1)
	signed, err := signer.sign(tlog.Tree{N: 7, Hash: cybervault.AuditLeafHash(nil)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add("a\n1\nAAAA\n")
	f.Add("\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := OpenCheckpoint(text, signer.PublicKey()); err == nil && c.Tree.N != 7 {
			t.Errorf("%q was not signed, and opens as %+v", text, c)
		}
		if c, err := parseCheckpoint(text); err == nil && (c.Tree.N < 0 || c.Origin == "") {
			t.Errorf("%q is read as %+v", text, c)
		}
	})
}
