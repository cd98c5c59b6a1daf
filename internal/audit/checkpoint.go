package audit

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cybervault/cybervault"
)

// keyUse separates the key of checkpoints from whatever else the installation's
// secret key is used for (RFC 5869). It stands in every public key that is kept
// elsewhere, and never changes.
const keyUse = "cybervault audit log checkpoint v1"

// originPrefix begins the origin, which is also the name of the key.
const originPrefix = "cybervault/audit/"

// MaxCheckpoint bounds a checkpoint, in bytes: a few lines, and the signatures
// of witnesses that may have been added.
const MaxCheckpoint = 64 << 10

// Signer signs checkpoints. All nodes that share a secret key sign alike.
type Signer struct {
	origin string
	public string
	signer note.Signer
	verify note.Verifier
}

// NewSigner derives the Ed25519 key of checkpoints from the installation's
// secret key.
func NewSigner(secret []byte) (*Signer, error) {
	seed, err := hkdf.Key(sha256.New, secret, nil, keyUse, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive the key of the audit log: %w", err)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	sum := sha256.Sum256(public)
	s := &Signer{origin: originPrefix + hex.EncodeToString(sum[:8])}
	if s.public, err = note.NewEd25519VerifierKey(s.origin, public); err != nil {
		return nil, fmt.Errorf("make the public key of the audit log: %w", err)
	}
	if s.verify, err = note.NewVerifier(s.public); err != nil {
		return nil, fmt.Errorf("read the public key of the audit log: %w", err)
	}
	const ed25519Algorithm = 1
	private := fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", s.origin, s.verify.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{ed25519Algorithm}, seed...)))
	if s.signer, err = note.NewSigner(private); err != nil {
		return nil, fmt.Errorf("use the key of the audit log: %w", err)
	}
	return s, nil
}

// PublicKey is the key to check checkpoints with, as signed notes have it: name,
// hash and key, with a plus between them.
func (s *Signer) PublicKey() string { return s.public }

// sign makes the checkpoint of a tree (C2SP tlog-checkpoint).
func (s *Signer) sign(tree tlog.Tree) (string, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", s.origin, tree.N, base64.StdEncoding.EncodeToString(tree.Hash[:]))
	signed, err := note.Sign(&note.Note{Text: text}, s.signer)
	return string(signed), err
}

// A Checkpoint is what a signed note says of a tree.
type Checkpoint struct {
	Origin string
	Tree   tlog.Tree
	Note   string
}

// OpenCheckpoint checks the signature of a checkpoint and reads it. An error
// says what does not hold.
func OpenCheckpoint(text, publicKey string) (*Checkpoint, error) {
	if len(text) > MaxCheckpoint {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the checkpoint is larger than %d KiB", MaxCheckpoint>>10)
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(publicKey))
	if err != nil {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the public key cannot be read: it has the form name+hash+key, as 'cybervault audit key' prints it")
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the checkpoint is not signed by %s (%v): it is forged, damaged, or another installation's", verifier.Name(), err)
	}
	c, err := parseCheckpoint(opened.Text)
	if err != nil {
		return nil, err
	}
	if c.Origin != verifier.Name() {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the checkpoint is of the log %q, and the key of %q", c.Origin, verifier.Name())
	}
	c.Note = text
	return c, nil
}

// parseCheckpoint reads the text of the note: origin, size, root, and lines that
// a later version may add.
func parseCheckpoint(text string) (*Checkpoint, error) {
	origin, rest, ok := strings.Cut(text, "\n")
	lines := strings.SplitN(rest, "\n", 3)
	if !ok || origin == "" || len(lines) < 3 {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the checkpoint does not have the lines origin, size and root hash")
	}
	var tree tlog.Tree
	if _, err := fmt.Sscanf(lines[0], "%d", &tree.N); err != nil || fmt.Sprint(tree.N) != lines[0] || tree.N < 0 {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the size in the checkpoint is no whole number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[1])
	if err != nil || len(root) != tlog.HashSize {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the root in the checkpoint is not the base64 of %d bytes", tlog.HashSize)
	}
	tree.Hash = tlog.Hash(root)
	return &Checkpoint{Origin: origin, Tree: tree}, nil
}
