package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many files are under way.
const atOnce = 4

// summed is a file's sum as of when it had this size and time.
type summed struct {
	size    int64
	changed time.Time
	sum     string
}

// Put writes a folder as a checkpoint: files that no checkpoint has yet, then
// the manifest, whose Version and Files it fills in. Nobody may change the
// folder meanwhile, and there may be one Put at a time. It tells how many bytes
// went out; after an error there is no such checkpoint.
func (b *Bucket) Put(ctx context.Context, dir string, m *Manifest) (sent int64, err error) {
	m.Version, m.Files = version, nil
	if err := b.sumAll(ctx, dir, m); err != nil {
		return 0, err
	}
	// Only what a checkpoint names is relied on: Keep may be removing the rest.
	all, _, err := b.List(ctx)
	if err != nil {
		return 0, err
	}
	named := map[string]bool{}
	for _, one := range all {
		for _, f := range one.Files {
			named[f.SHA256] = true
		}
	}
	for range 3 {
		n, err := b.putFiles(ctx, dir, m.Files, named)
		if sent += n; err != nil {
			return sent, err
		}
		encoded := m.encode()
		if err := b.write(ctx, m.key, int64(len(encoded)), bytes.NewReader(encoded)); err != nil {
			return sent, err
		}
		sent += int64(len(encoded))
		// Another process may have removed what this relied on.
		missing, err := b.missing(ctx, m.Files)
		if err != nil {
			return sent, err
		}
		if len(missing) == 0 {
			return sent, nil
		}
		clear(named)
	}
	if err := b.remove(ctx, m.key); err != nil {
		return sent, err
	}
	return sent, fmt.Errorf("files of %s vanish while a checkpoint is written: does another instance write there?", b.shown)
}

func (b *Bucket) missing(ctx context.Context, want []File) (missing map[string]bool, err error) {
	there, err := b.list(ctx, files)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, o := range there {
		sizes[strings.TrimPrefix(o.key, files)] = o.size
	}
	missing = map[string]bool{}
	for _, f := range want {
		if size, ok := sizes[f.SHA256]; !ok || size != f.Size {
			missing[f.SHA256] = true
		}
	}
	return missing, nil
}

func (b *Bucket) putFiles(ctx context.Context, dir string, all []File, named map[string]bool) (int64, error) {
	missing, err := b.missing(ctx, all)
	if err != nil {
		return 0, err
	}
	var sent atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, f := range all {
		if named[f.SHA256] && !missing[f.SHA256] {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			file, err := os.Open(filepath.Join(dir, f.Name))
			if err != nil {
				return err
			}
			defer file.Close()
			if err := b.write(ctx, files+f.SHA256, f.Size, &exactly{file, f, sha256.New()}); err != nil {
				return err
			}
			sent.Add(f.Size)
			return nil
		})
	}
	err = g.Wait()
	return sent.Load(), err
}

// exactly reads a file, and fails at its end where it isn't what it was.
type exactly struct {
	r   io.Reader
	f   File
	sum hash.Hash
}

func (e *exactly) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	e.sum.Write(b[:n])
	if errors.Is(err, io.EOF) {
		if e := e.f.is(e.sum); e != nil {
			return n, fmt.Errorf("it changes while it is copied: %w", e)
		}
	}
	return n, err
}

func (f File) is(sum hash.Hash) error {
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s has the sum %s, not %s", f.Name, got, f.SHA256)
	}
	return nil
}

// sumAll lists a folder's files, with their sums. Tables that were there the last
// time haven't changed since: they never do.
func (b *Bucket) sumAll(ctx context.Context, dir string, m *Manifest) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	sums := map[string]summed{}
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == "LOCK" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		s, known := b.sums[e.Name()]
		if !known || s.size != info.Size() || !s.changed.Equal(info.ModTime()) {
			s = summed{info.Size(), info.ModTime(), ""}
			if s.sum, err = sumOf(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
		if strings.HasSuffix(e.Name(), ".sst") {
			sums[e.Name()] = s
		}
		m.Files = append(m.Files, File{Name: e.Name(), Size: s.size, SHA256: s.sum})
	}
	if len(m.Files) == 0 {
		return fmt.Errorf("%s holds no files", dir)
	}
	b.sums = sums
	return m.check()
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Get makes a folder of a checkpoint, which mustn't be there yet. Every file is
// what it was when it was put, or the error is ErrRefused, or one of reaching
// the bucket or the disk. After an error the folder holds anything.
func (b *Bucket) Get(ctx context.Context, m *Manifest, dir string) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("the checkpoint %s %w: %w", m.Name(), ErrRefused, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, f := range m.Files {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return b.getFile(ctx, f, dir)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("the checkpoint %s: %w", m.Name(), err)
	}
	return syncDir(dir)
}

func (b *Bucket) getFile(ctx context.Context, f File, dir string) (err error) {
	to, err := os.OpenFile(filepath.Join(dir, f.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := to.Close(); err == nil {
			err = e
		}
	}()
	sum := sha256.New()
	if err := b.read(ctx, files+f.SHA256, f.Size, io.MultiWriter(to, sum)); err != nil {
		return err
	}
	if err := f.is(sum); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return to.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
