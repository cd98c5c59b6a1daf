package config

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/cybervault/cybervault"
)

// DefaultFile is read when --config names no other file, if it exists.
const DefaultFile = "cybervault.yaml"

// Flags are the settings' flags on one command.
type Flags struct {
	file  *flagValue
	given map[string]*flagValue // by option name
}

// Bind adds a flag for every setting that may have one to fs, and --config.
// With names, for those only; the others are still read from elsewhere.
func Bind(fs *pflag.FlagSet, names ...string) *Flags {
	f := &Flags{file: &flagValue{hint: "file"}, given: make(map[string]*flagValue)}
	fs.Var(f.file, "config", "file of settings (default "+DefaultFile+" in the current directory, if it exists)")
	for _, o := range options() {
		if o.noFlag || len(names) > 0 && !slices.Contains(names, o.name) {
			continue
		}
		v := &flagValue{hint: o.hint, list: o.list, fallback: o.defaultText()}
		flag := fs.VarPF(v, o.name, "", o.usage)
		if o.hint == "" {
			v.hint, flag.NoOptDefVal = "bool", "true"
		}
		f.given[o.name] = v
	}
	return f
}

// Load reads the settings: a flag that was given beats the environment variable
// (asked of env, in the manner of os.LookupEnv; an empty one counts as not
// set), which beats the file, which beats the default. Every wrong setting is
// reported at once, each as a *cybervault.Error of CodeInvalid whose Field is
// the flag, the variable, or the file and line.
func (f *Flags) Load(env func(string) (string, bool)) (Config, error) {
	fromFile, errs := f.readFile(env)
	c := Default()
	for _, o := range options() {
		text, where, ok := f.find(o, env, fromFile)
		if !ok {
			continue
		}
		if err := o.set(&c, text); err != nil {
			errs = append(errs, cybervault.Invalid(where, "%s", err))
		}
	}
	if len(errs) == 0 {
		errs = slices.Concat(c.checkStreams(), c.checkSyslog(), c.checkOIDC())
	}
	if len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}

func (f *Flags) find(o option, env func(string) (string, bool), fromFile map[string]setting) (text, where string, ok bool) {
	if v := f.given[o.name]; v != nil && v.set {
		return v.text, "--" + o.name, true
	}
	if text, ok := env(o.env()); ok && text != "" {
		return text, o.env(), true
	}
	s, ok := fromFile[o.key()]
	return s.text, s.where, ok
}

func (f *Flags) readFile(env func(string) (string, bool)) (map[string]setting, []error) {
	path, where := DefaultFile, ""
	if f.file.set {
		path, where = f.file.text, "--config"
	} else if text, ok := env(envPrefix + "CONFIG"); ok && text != "" {
		path, where = text, envPrefix+"CONFIG"
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		if where == "" && errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if where == "" {
			where = path
		}
		return nil, []error{cybervault.Invalid(where, "the file cannot be read (%v): name one that exists and is readable, or leave it out", err)}
	}
	return parseFile(path, raw)
}

// bare takes the field off an error that is about to be given another.
func bare(err error) error {
	if e, ok := errors.AsType[*cybervault.Error](err); ok {
		return errors.New(e.Message)
	}
	return err
}

// flagValue keeps a flag's text as it was given, so that a wrong value is
// reported in the same words wherever it came from.
type flagValue struct {
	hint, text, fallback string
	list, set            bool
}

// String implements pflag.Value.
func (v *flagValue) String() string {
	if v.set {
		return v.text
	}
	return v.fallback
}

// Set implements pflag.Value. A repeated flag adds to a list and replaces
// anything else.
func (v *flagValue) Set(text string) error {
	if v.list && v.set {
		text = strings.Join([]string{v.text, text}, ",")
	}
	v.text, v.set = text, true
	return nil
}

// Type implements pflag.Value; the help text shows it after the flag's name.
func (v *flagValue) Type() string { return v.hint }

// IsBoolFlag lets a switch stand without a value.
func (v *flagValue) IsBoolFlag() bool { return v.hint == "bool" }
