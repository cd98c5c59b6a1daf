package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/backup"
)

const partBytes = 8 << 20

// sample is a database of a size, half of it random.
func sample(size int) []byte {
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range size / 2 {
		b[i] = byte(r.Uint32())
	}
	return b
}

func write(t testing.TB, database, key []byte) []byte {
	t.Helper()
	m := &backup.Manifest{
		CreatedAt: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Program: "1.2.3", Schema: 9, Workspace: "ws_1",
		Counts: backup.Counts{Events: 3, Deliveries: 5}, LastChange: backup.Change{Transaction: 7, Mark: 8}, Key: backup.Key{Fingerprint: "0123456789abcdef"},
	}
	if err := m.Measure(t.Context(), bytes.NewReader(database)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := backup.Write(t.Context(), &out, m, key, bytes.NewReader(database)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(archive []byte) (m *backup.Manifest, key, database []byte, err error) {
	var out bytes.Buffer
	m, key, err = backup.Read(context.Background(), bytes.NewReader(archive), nil, &out)
	return m, key, out.Bytes(), err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 5000, "one part": partBytes, "two parts": partBytes + 1, "three parts": 2*partBytes + 4096} {
		for _, key := range [][]byte{nil, []byte("the key\n")} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				want := sample(size)
				m, gotKey, got, err := read(write(t, want, key))
				if err != nil || !bytes.Equal(got, want) || !bytes.Equal(gotKey, key) || (gotKey == nil) != (key == nil) {
					t.Fatalf("read %d bytes of %d, key %q, %v", len(got), len(want), gotKey, err)
				}
				if m.Schema != 9 || m.Counts.Deliveries != 5 || m.LastChange.Mark != 8 || m.Key.Included != (key != nil) || m.Key.Fingerprint != "0123456789abcdef" {
					t.Errorf("the manifest is %+v", m)
				}
			})
		}
	}
}

// Whatever byte of a backup is changed, it is refused, and said to be damaged.
func TestEveryByteMatters(t *testing.T) {
	t.Parallel()
	archive := write(t, sample(1000), []byte("the key\n"))
	for i := range archive {
		bit := byte(1) << (i % 8)
		archive[i] ^= bit
		_, _, _, err := read(archive)
		archive[i] ^= bit
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Fatalf("byte %d of %d changed by %#x: %v", i, len(archive), bit, err)
		}
	}
}

func TestCutOffOrLongerIsRefused(t *testing.T) {
	t.Parallel()
	archive := write(t, sample(1000), nil)
	for n := 0; n < len(archive); n += 17 { // which falls on both sides of every block's end
		if _, _, _, err := read(archive[:n]); cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), "cut off") {
			t.Fatalf("the first %d of %d bytes: %v", n, len(archive), err)
		}
	}
	if _, _, _, err := read(append(bytes.Clone(archive), 0)); err == nil || !strings.Contains(err.Error(), "follows its end") {
		t.Errorf("with a byte more: %v", err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	archive := write(t, sample(100), nil)
	newer := bytes.Replace(archive, []byte(`"format_version": 1`), []byte(`"format_version": 2`), 1)
	if _, _, _, err := read(newer); err == nil || !strings.Contains(err.Error(), "newer CyberVault") {
		t.Errorf("format 2: %v", err)
	}
}

// The caller's refusal ends the reading before the database is touched.
func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	no := errors.New("not this one")
	var out bytes.Buffer
	_, _, err := backup.Read(t.Context(), bytes.NewReader(write(t, sample(100), nil)), func(*backup.Manifest) error { return no }, &out)
	if !errors.Is(err, no) || out.Len() > 0 {
		t.Errorf("%v, and %d bytes were written", err, out.Len())
	}
}

func TestDatabaseThatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	m := &backup.Manifest{}
	if err := m.Measure(t.Context(), strings.NewReader("the database")); err != nil {
		t.Fatal(err)
	}
	if err := backup.Write(t.Context(), io.Discard, m, nil, strings.NewReader("The database")); err == nil {
		t.Error("a database that changed between measuring and writing was taken")
	}
}

// Any tar program takes a backup apart, and sha256sum and gunzip do the rest.
func TestOtherProgramsReadIt(t *testing.T) {
	t.Parallel()
	want := sample(partBytes + 100)
	archive := write(t, want, []byte("the key\n"))
	var names []string
	var got bytes.Buffer
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if names = append(names, h.Name); strings.HasPrefix(h.Name, "cybervault.db.") {
			z, err := gzip.NewReader(r)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(&got, z)
		}
		if h.Mode != 0o600 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
	}
	if list := strings.Join(names, " "); list != "manifest.json secret.key cybervault.db.000001.gz cybervault.db.000002.gz SHA256SUMS" {
		t.Errorf("it holds %s", list)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("the database in it is another")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b.tar"), archive, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", "tar -xf b.tar && sha256sum --quiet -c SHA256SUMS && cat cybervault.db.*.gz | gunzip > cybervault.db")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if unpacked, err := os.ReadFile(filepath.Join(dir, "cybervault.db")); err != nil || !bytes.Equal(unpacked, want) {
		t.Errorf("gunzip made %d bytes, %v", len(unpacked), err)
	}
}

// Whatever the bytes are, reading ends with an error of a known kind or with what
// would be written for what was read.
func FuzzRead(f *testing.F) {
	whole := write(f, sample(600), []byte("the key\n"))
	f.Add(whole)
	f.Add(whole[:1024])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, archive []byte) {
		m, key, database, err := read(archive)
		if err != nil {
			if cybervault.ErrorCode(err) != cybervault.CodeInvalid {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again := *m
		if err := again.Measure(t.Context(), bytes.NewReader(database)); err != nil || again.Database != m.Database {
			t.Fatalf("the database is not the one that the manifest names: %v", err)
		}
		var out bytes.Buffer
		if err := backup.Write(t.Context(), &out, &again, key, bytes.NewReader(database)); err != nil {
			t.Fatal(err)
		}
		// All but how the parts are packed.
		if _, key2, database2, err := read(out.Bytes()); err != nil || !bytes.Equal(key, key2) || !bytes.Equal(database, database2) {
			t.Fatalf("what was read is not what is written: %v", err)
		}
	})
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b")
	put := func(text string, force bool, fail error) error {
		return backup.WriteFile(path, force, func(f *os.File) error {
			_, err := f.WriteString(text)
			return errors.Join(err, fail)
		})
	}
	if err := put("one", false, nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for name, err := range map[string]error{
		"without force": put("two", false, nil), "that failed": put("three", true, broken),
	} {
		if err == nil {
			t.Errorf("a file %s was written", name)
		}
	}
	if text, _ := os.ReadFile(path); string(text) != "one" {
		t.Errorf("the file holds %q", text)
	}
	if err := put("four", true, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if all, _ := os.ReadDir(filepath.Dir(path)); len(all) != 1 {
		t.Errorf("left behind: %v", all)
	}
	if text, _ := os.ReadFile(path); string(text) != "four" {
		t.Errorf("the file holds %q", text)
	}
}
