package testenv

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Debian is a small Debian system in a directory of its own, kept by the real dpkg.
type Debian struct {
	Root string // of the system

	t      testing.TB
	serial int
}

// NewDebian makes a system on which nothing is installed.
func NewDebian(t testing.TB) *Debian {
	t.Helper()
	for _, tool := range []string{"dpkg", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("this test needs %s: install the package dpkg (on Debian it is always there; elsewhere 'apt install dpkg', 'dnf install dpkg' or 'brew install dpkg')", tool)
		}
	}
	d := &Debian{t: t, Root: t.TempDir()}
	for _, dir := range []string{"var/lib/dpkg/updates", "var/lib/dpkg/info", "var/log/apt", "run", "usr/share/doc"} {
		d.must(os.MkdirAll(filepath.Join(d.Root, dir), 0o755))
	}
	d.Write("var/lib/dpkg/status", "")
	return d
}

func (d *Debian) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// Write puts a file in the system.
func (d *Debian) Write(name, content string) {
	d.t.Helper()
	d.must(os.MkdirAll(filepath.Dir(filepath.Join(d.Root, name)), 0o755))
	d.must(os.WriteFile(filepath.Join(d.Root, name), []byte(content), 0o644))
}

// Deb is a package to be built.
type Deb struct {
	Name, Version, Depends string
	Changelog              string // of ChangelogEntry, from the newest on
	Postinst, Preinst      string // lines of shell
}

// ChangelogEntry is what a changelog says of one version.
func ChangelogEntry(name, version, suite, text string) string {
	return fmt.Sprintf("%s (%s) %s; urgency=high\n\n  * %s\n\n -- A Person <a@example.com>  Fri, 20 Nov 2026 10:00:00 +0000\n\n", name, version, suite, text)
}

// Install builds packages and installs them all in one run; the error is what dpkg says.
func (d *Debian) Install(debs ...Deb) error {
	d.t.Helper()
	args := []string{"-i"}
	for _, p := range debs {
		args = append(args, d.build(p))
	}
	return d.dpkg(args...)
}

// Purge removes packages.
func (d *Debian) Purge(names ...string) error {
	d.t.Helper()
	return d.dpkg(append([]string{"--purge"}, names...)...)
}

func (d *Debian) dpkg(args ...string) error {
	d.t.Helper()
	args = append([]string{"--root=" + d.Root, "--force-script-chrootless", "--force-not-root", "--force-bad-path", "--log=" + filepath.Join(d.Root, "var/log/dpkg.log")}, args...)
	out, err := exec.CommandContext(d.t.Context(), "dpkg", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (d *Debian) build(p Deb) string {
	d.t.Helper()
	d.serial++
	dir := filepath.Join(d.t.TempDir(), p.Name)
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: A Person <a@example.com>\nDescription: for a test\n", p.Name, p.Version)
	if p.Depends != "" {
		control += "Depends: " + p.Depends + "\n"
	}
	put := func(name, content string, mode os.FileMode) {
		d.must(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		d.must(os.WriteFile(filepath.Join(dir, name), []byte(content), mode))
	}
	put("DEBIAN/control", control, 0o644)
	if p.Postinst != "" {
		put("DEBIAN/postinst", "#!/bin/sh\n"+p.Postinst+"\n", 0o755)
	}
	if p.Preinst != "" {
		put("DEBIAN/preinst", "#!/bin/sh\n"+p.Preinst+"\n", 0o755)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(p.Changelog))
	d.must(errors.Join(err, z.Close()))
	put("usr/share/doc/"+p.Name+"/changelog.Debian.gz", packed.String(), 0o644)
	file := filepath.Join(d.t.TempDir(), fmt.Sprintf("%s_%d.deb", p.Name, d.serial))
	out, err := exec.CommandContext(d.t.Context(), "dpkg-deb", "--root-owner-group", "-Znone", "--build", dir, file).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	return file
}
