package failpoint_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cybervault/cybervault/internal/failpoint"
)

// program calls Hit three times, prints before each, and says if its clock is fast.
const program = `package main

import (
	"os"
	"time"

	"github.com/cybervault/cybervault/internal/failpoint"
)

func main() {
	for range 3 {
		os.Stdout.WriteString("+")
		failpoint.Hit(failpoint.CommitDone)
	}
	if failpoint.Clock()().After(time.Now().Add(time.Hour)) {
		os.Stdout.WriteString("fast\n")
	}
}
`

// build builds the program with the tags. Internal packages can be imported by a
// directory inside the module only, so it is laid over one that does not exist.
func build(t *testing.T, tags string) string {
	t.Helper()
	dir := t.TempDir()
	source, binary, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "program"), filepath.Join(dir, "overlay.json")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	write(t, source, program)
	write(t, overlay, `{"Replace":{"`+filepath.Join(here, "hitter", "main.go")+`":"`+source+`"}}`)
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-tags", tags, "-o", binary, "./hitter").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(binary, trap string, env ...string) (string, error) {
	cmd := exec.Command(binary)
	cmd.Env = append(append(os.Environ(), failpoint.Environment+"="+trap), env...)
	out, err := cmd.Output()
	return string(out), err
}

func TestHitKillsAtTheHitThatIsAskedFor(t *testing.T) {
	t.Parallel()
	binary := build(t, "failpoints")
	out, err := run(binary, failpoint.CommitDone+":2")
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || out != "++" {
		t.Errorf("killed at the second hit: %v after %q", err, out)
	}
	for _, elsewhere := range []string{"", failpoint.CommitDone + ":4", failpoint.CommitBegun + ":1"} {
		if out, err := run(binary, elsewhere); err != nil || out != "+++" {
			t.Errorf("%q: %v after %q", elsewhere, err, out)
		}
	}
	offset := filepath.Join(t.TempDir(), "offset")
	write(t, offset, "24h\n")
	if out, err := run(binary, "", failpoint.ClockEnvironment+"="+offset); err != nil || out != "+++fast\n" {
		t.Errorf("with a clock that is fast: %v after %q", err, out)
	}
	for _, wrong := range []string{"nowhere:1", failpoint.CommitDone, failpoint.CommitDone + ":0", failpoint.CommitDone + ":x"} {
		if _, err := run(binary, wrong); err == nil {
			t.Errorf("%q is taken for a point", wrong)
		}
	}
}

// An ordinary build holds neither the name of the variable nor of a point, so it
// cannot be told to end by its environment.
func TestAnOrdinaryBuildHasNoFailpoints(t *testing.T) {
	t.Parallel()
	binary := build(t, "")
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(failpoint.All(), failpoint.Environment, failpoint.ClockEnvironment) {
		if bytes.Contains(program, []byte(name)) {
			t.Errorf("the program holds %q", name)
		}
	}
	if out, err := run(binary, failpoint.CommitDone+":1"); err != nil || out != "+++" {
		t.Errorf("an ordinary build: %v after %q", err, out)
	}
}
