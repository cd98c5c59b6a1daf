package app

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/geo"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/rules"
)

// openEngine makes the threat engine, as it was when the node last stopped.
func (a *App) openEngine(metrics *observe.Metrics) (err error) {
	config := detect.Config{Now: a.store.Now, Paranoia: a.cfg.Paranoia, Sites: a.cfg.WebSites}
	if len(a.cfg.Detect.GeoIP) > 0 {
		if a.geo, err = geo.Open(a.cfg.Detect.GeoIP...); err != nil {
			return &cybervault.Error{Code: cybervault.CodeInvalid, Field: "geoip", Message: err.Error(), Err: err}
		}
		config.Locate = a.geo.Locate
	}
	sources, err := ruleSources(a.cfg.Detect.Rules)
	if err != nil {
		return err
	}
	if config.Rules, err = loadRules(sources, a.log); err != nil {
		return err
	}
	if a.pipeline, err = newPipeline(config, metrics); err != nil {
		return err
	}
	a.controls = &controls{store: a.store, engine: a.pipeline.engine, rules: config.Rules, sources: sources, workspace: a.workspace, now: a.store.Now, log: a.log}
	a.engineState = keepEngineState(a.pipeline.engine, a.cfg.DataDir, a.log)
	return nil
}

// maxToldRules bounds how many rules that cannot be used are logged.
const maxToldRules = 20

// ruleSources are the shipped Sigma rules and those of directories.
func ruleSources(dirs []string) ([]detect.RuleSource, error) {
	sources := []detect.RuleSource{{FS: rules.FS()}}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, cybervault.Invalid("rules", "%s is not a directory that can be read: name the directory that holds the Sigma rules", dir)
		}
		sources = append(sources, detect.RuleSource{Name: dir, FS: os.DirFS(dir)})
	}
	return sources, nil
}

// loadRules loads Sigma rules. One that cannot be used is said; it stops neither the
// others nor the server.
func loadRules(sources []detect.RuleSource, log *slog.Logger) (*sigma.Engine, error) {
	engine, wrong, err := detect.LoadRules(sources...)
	if err != nil {
		return nil, err
	}
	for _, e := range wrong[:min(len(wrong), maxToldRules)] {
		log.Warn("a Sigma rule cannot be used", slog.String("file", e.Pos.String()), slog.String("rule", e.Title), slog.String("why", e.Message))
	}
	if more := len(wrong) - maxToldRules; more > 0 {
		log.Warn("more Sigma rules cannot be used", slog.Int("rules", more))
	}
	return engine, nil
}

// engineStateFile is where a node keeps what its threat engine remembers, in the
// data directory. It is of this node alone, also where nodes share a database: it
// belongs to the telemetry that comes in here.
const engineStateFile = "engine.state"

// engineStateGap is how often it is written while telemetry comes in. A node that
// is killed forgets at most so much of its windows; its events are in the store.
const engineStateGap = time.Minute

// engineState keeps the engine's memory over restarts.
type engineState struct {
	engine *detect.Engine
	file   string
	saved  int64 // records that the engine had taken in
	log    *slog.Logger
}

func keepEngineState(engine *detect.Engine, dir string, log *slog.Logger) *engineState {
	s := &engineState{engine: engine, file: filepath.Join(dir, engineStateFile), log: log}
	if err := s.load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Windows that begin anew find less for a while; a server that does not start
		// finds nothing.
		log.Warn("the threat engine begins with empty windows: what it kept cannot be read", slog.String("file", s.file), slog.Any("error", err))
	}
	s.saved = engine.Stats().Records
	return s
}

func (s *engineState) load() error {
	f, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it is only read
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return err
	}
	return s.engine.Load(z)
}

// run saves until the context ends. What comes in later is for save, at the stop.
func (s *engineState) run(ctx context.Context) {
	tick := time.NewTicker(engineStateGap)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.save()
		}
	}
}

// save writes the file, whole or not at all, if there is something new.
func (s *engineState) save() {
	records := s.engine.Stats().Records
	if records == s.saved {
		return
	}
	if err := s.write(); err != nil {
		s.log.Warn("what the threat engine remembers could not be written down; after a restart its windows begin where they last were", slog.String("file", s.file), slog.Any("error", err))
		return
	}
	s.saved = records
}

func (s *engineState) write() (err error) {
	f, err := os.CreateTemp(filepath.Dir(s.file), engineStateFile+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	err = s.engine.Save(z)
	if err = errors.Join(err, z.Close()); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.file)
}
