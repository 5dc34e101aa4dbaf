package local

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

type engineKind string

const (
	binaryEngine  engineKind = "binary"
	libraryEngine engineKind = "library"
)

// engine is what can be a ClickHouse on this machine.
type engine struct {
	kind engineKind
	path string
}

func (e engine) String() string { return e.path }

// args are the engine's arguments; the files that they name hold the rest.
func (e engine) args(cfg Config) []string {
	config := "--config-file=" + filepath.Join(cfg.Dir, configFile)
	if e.kind == binaryEngine {
		return []string{"server", config}
	}
	return []string{
		config,
		"--path=" + filepath.Join(cfg.Dir, dataDir),
		"--log-level=warning", // it doesn't read the configuration's
		"--listen_host=127.0.0.1",
		"--http_port=" + strconv.Itoa(cfg.HTTPPort),
		"--tcp_port=" + strconv.Itoa(cfg.Port),
		"--queries-file=" + filepath.Join(cfg.Dir, startFile),
		"--queries-file=/dev/fd/0", // blocks on our pipe until it is closed
	}
}

// The oldest binary that is used: what clickhouse-go still supports, and has
// every setting that the sink relies on.
const oldestMajor = 24

// findEngine prefers what is installed.
func findEngine(ctx context.Context, cfg Config) (engine, error) {
	path, err := exec.LookPath("clickhouse")
	if err == nil {
		major, err := majorVersion(ctx, path)
		switch {
		case err != nil:
			cfg.Logger.Warn("clickhouse binary not used", "path", path, "error", err)
		case major < oldestMajor:
			cfg.Logger.Warn("clickhouse binary not used: too old", "path", path, "major", major, "oldest", oldestMajor)
		default:
			return engine{binaryEngine, path}, nil
		}
	}
	if !librarySupported {
		return engine{}, errors.New("no ClickHouse found: install it (https://clickhouse.com/docs/install) so that `clickhouse` is on PATH, or set clickhouse.addr to a server of yours")
	}
	path, err = library(ctx, cfg)
	if err != nil {
		return engine{}, fmt.Errorf("get a ClickHouse engine: %w", err)
	}
	return engine{libraryEngine, path}, nil
}

var versionPattern = regexp.MustCompile(`version (\d+)\.\d+`)

func majorVersion(ctx context.Context, path string) (int, error) {
	out, err := exec.CommandContext(ctx, path, "server", "--version").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s server --version: %w", path, err)
	}
	found := versionPattern.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("%s server --version: no version in %.100q", path, out)
	}
	return strconv.Atoi(string(found[1]))
}
