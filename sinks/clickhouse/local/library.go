package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// The library: one version, known by its checksum. Its npm package also says
// which C functions it has; other versions can't listen.
const (
	libraryName    = "libchdb.so"
	libraryFolder  = "libchdb-26.7.3"
	libraryPackage = "@chdb/lib-linux-x64-gnu"
	libraryVersion = "26.7.3-stable.1"
	librarySHA256  = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5"
)

// library returns the path of the checked library, fetching it if need be.
func library(ctx context.Context, cfg Config) (string, error) {
	cache := cfg.CacheDir
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache folder (set HOME or XDG_CACHE_HOME): %w", err)
		}
		cache = filepath.Join(user, "refundguard")
	}
	folder := filepath.Join(cache, libraryFolder)
	path := filepath.Join(folder, libraryName)
	if stamped(path) {
		return path, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	lock, err := lockPath(ctx, filepath.Join(folder, lockFile), 0)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if stamped(path) { // by whom we waited for
		return path, nil
	}
	switch err := verify(path); {
	case err == nil:
		return path, nil
	case !errors.Is(err, os.ErrNotExist):
		cfg.Logger.Warn("cached ClickHouse engine is damaged: fetching it again", "path", path, "error", err)
	}
	cfg.Logger.Info("fetching the ClickHouse engine, once (178 MB)", "package", libraryPackage+"@"+libraryVersion, "to", folder)
	start := time.Now()
	if err := fetch(ctx, folder, path); err != nil {
		return "", err
	}
	cfg.Logger.Info("fetched the ClickHouse engine", "took", time.Since(start).Round(time.Millisecond))
	return path, nil
}

// fetch has npm put the package beside its final place, checks it, and moves it
// there whole. The caller holds the folder's lock.
func fetch(ctx context.Context, folder, path string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("there is no `clickhouse` on PATH, and no npm to fetch one with: install either, or set clickhouse.addr to a server of yours (%w)", err)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "npm-*")); err == nil {
		for _, old := range left { // of a fetch that was killed
			os.RemoveAll(old)
		}
	}
	temp, err := os.MkdirTemp(folder, "npm-")
	if err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	defer os.RemoveAll(temp)

	args := []string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", temp, libraryPackage + "@" + libraryVersion}
	cmd := exec.CommandContext(ctx, npm, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return npmError(ctx, err, out.Bytes(), folder)
	}
	fetched := filepath.Join(temp, "node_modules", filepath.FromSlash(libraryPackage), libraryName)
	if err := os.Rename(fetched, path); err != nil {
		return fmt.Errorf("npm install succeeded, but brought no %s: %w", libraryName, err)
	}
	if err := verify(path); err != nil {
		os.Remove(path)
		return fmt.Errorf("what npm fetched is not the library that refundguard knows, and was deleted: %w: check which registry `npm config get registry` names, or use a `clickhouse` binary on PATH", err)
	}
	return nil
}

var npmCode = regexp.MustCompile(`(?m)^npm (?:ERR!|error) code (\w+)`)

// npmError says what to do about a failed installation, by npm's own code.
func npmError(ctx context.Context, err error, out []byte, folder string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("fetching the library was interrupted: %w", context.Cause(ctx))
	}
	code := ""
	if found := npmCode.FindSubmatch(out); found != nil {
		code = string(found[1])
	}
	advice := ""
	switch code {
	case "ENOSPC":
		advice = "the disk is full: free about 1 GB in " + folder + " and in npm's own cache, or point XDG_CACHE_HOME elsewhere"
	case "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET_TIMEOUT":
		advice = "npm can't reach its registry: this first fetch needs the network"
	case "E401", "E403", "E404", "ETARGET":
		advice = "npm's registry does not hand out this package: see `npm config get registry`"
	case "EACCES", "EPERM", "EROFS":
		advice = "npm may not write: check the owner of " + folder + " and of npm's own cache"
	default:
		advice = "see npm's words below"
	}
	const most = 2000
	return fmt.Errorf("%s; to see it fail by hand: npm install --ignore-scripts --prefix %s %s@%s; or put a `clickhouse` binary on PATH, or set clickhouse.addr to a server of yours (%w)\n%s",
		advice, filepath.Join(os.TempDir(), "chdb"), libraryPackage, libraryVersion, err, bytes.TrimSpace(out[max(0, len(out)-most):]))
}

// stamp remembers which file was checked: hashing 570 MB takes seconds.
type stamp struct {
	SHA256   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// stamped reports whether the library is the very file that verify accepted.
func stamped(path string) bool {
	text, err := os.ReadFile(path + ".checked")
	if err != nil {
		return false
	}
	var s stamp
	if json.Unmarshal(text, &s) != nil || s.SHA256 != librarySHA256 {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Size() == s.Size && info.ModTime().Equal(s.Modified)
}

// verify compares the library's checksum and stamps it.
func verify(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != librarySHA256 {
		return fmt.Errorf("%s has SHA-256 %s, not %s", path, sum, librarySHA256)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text, err := json.Marshal(stamp{librarySHA256, info.Size(), info.ModTime()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".checked", text, 0o600); err != nil {
		return fmt.Errorf("remember the checksum: %w", err)
	}
	return nil
}
