// Package checkpoint keeps copies of a folder in a bucket: a directory, or S3 and
// what speaks its protocol. It knows no meaning of the files.
//
// A file lies in the bucket under its SHA-256, once, however many checkpoints have
// it. A checkpoint is a manifest that names its files; it is written last, under
// a name with its own SHA-256, and removed first. So what is interrupted leaves
// no half a checkpoint, and what is torn, flipped or lost is found when it is
// read: nothing is believed for its name.
package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/s3blob"   // s3://
	"gocloud.dev/gcerrors"
)

// ErrRefused is for what is in the bucket and can't be taken: torn, flipped, lost,
// or of another format. Other errors are of reaching the bucket or the disk.
var ErrRefused = errors.New("can't be used")

// Bucket is where the checkpoints of one deployment are. It connects when it is
// first used.
type Bucket struct {
	url, shown, prefix string

	mu     sync.Mutex
	bucket *blob.Bucket

	sums  map[string]summed // of files of the folder that was put last
	grace time.Duration     // for how long files that no manifest names are left
}

// New checks a URL (s3://bucket/path?region=…, file:///path) or the path of a
// folder. Deployments may share a bucket: each has its own part of it.
func New(where, deployment string) (*Bucket, error) {
	u, err := address(where)
	if err != nil {
		return nil, err
	}
	return &Bucket{url: u.String(), shown: where, prefix: url.PathEscape(deployment) + "/", grace: time.Hour}, nil
}

// address is the URL as the drivers want it.
func address(where string) (*url.URL, error) {
	if filepath.IsAbs(where) {
		where = (&url.URL{Scheme: "file", Path: filepath.ToSlash(where)}).String()
	}
	u, err := url.Parse(where)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL: write s3://bucket/path or the path of a folder", where)
	}
	q := u.Query()
	switch {
	case u.Scheme == "file" && u.Host == "" && u.Path != "":
		// Temporary files are beside the real ones: elsewhere may be another disk.
		q.Set("create_dir", "true")
		q.Set("no_tmp_dir", "true")
		q.Set("metadata", "skip")
	case u.Scheme == "s3" && u.Host != "":
		if dir := strings.Trim(u.Path, "/"); dir != "" {
			q.Set("prefix", dir+"/"+q.Get("prefix"))
			u.Path = ""
		}
	default:
		return nil, fmt.Errorf("%q is no bucket that this program can use: write s3://bucket/path, file:///path, or the path of a folder from its root", where)
	}
	u.RawQuery = q.Encode()
	return u, nil
}

func (b *Bucket) String() string { return b.shown }

// Close gives the connection up.
func (b *Bucket) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bucket == nil {
		return nil
	}
	err := b.bucket.Close()
	b.bucket = nil
	return err
}

func (b *Bucket) open(ctx context.Context) (*blob.Bucket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bucket == nil {
		opened, err := blob.OpenBucket(ctx, b.url)
		if err != nil {
			return nil, fmt.Errorf("opening %s: %w", b.shown, err)
		}
		b.bucket = blob.PrefixedBucket(opened, b.prefix)
	}
	return b.bucket, nil
}

// patience is how long one object may take: a bucket that gives no answer must
// not hold anybody up for ever.
func patience(size int64) time.Duration { return time.Minute + time.Duration(size>>18)*time.Second }

// The names in the bucket: files/SHA256 and checkpoints/TIME-EPOCH-SHA256.json.
const (
	files     = "files/"
	manifests = "checkpoints/"
)

var manifestName = regexp.MustCompile(`^` + manifests + `\d{8}T\d{9}Z-\d+-([0-9a-f]{64})\.json$`)

type object struct {
	key     string
	size    int64
	changed time.Time
}

// list lists objects. In a folder, what another process is writing may vanish
// meanwhile: then it begins again.
func (b *Bucket) list(ctx context.Context, prefix string) (all []object, err error) {
	for range 10 {
		if all, err = b.listOnce(ctx, prefix); gcerrors.Code(err) != gcerrors.NotFound {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", b.shown, err)
	}
	return all, nil
}

func (b *Bucket) listOnce(ctx context.Context, prefix string) (all []object, err error) {
	bucket, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	for it := bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
		next, cancel := context.WithTimeout(ctx, patience(0))
		o, err := it.Next(next)
		cancel()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, object{o.Key, o.Size, o.ModTime})
	}
}

// read is the content of an object; one that isn't there, or has another length
// or sum than it should, is ErrRefused. It is written to, unverified, as it comes.
func (b *Bucket) read(ctx context.Context, key string, size int64, to io.Writer) error {
	bucket, err := b.open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience(size))
	defer cancel()
	r, err := bucket.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("%w: %s%s is not in %s", ErrRefused, b.prefix, key, b.shown)
	}
	if err != nil {
		return fmt.Errorf("reading %s%s of %s: %w", b.prefix, key, b.shown, err)
	}
	defer r.Close()
	n, err := io.Copy(to, until{ctx, io.LimitReader(r, size+1)})
	switch {
	case err != nil:
		return fmt.Errorf("reading %s%s of %s: %w", b.prefix, key, b.shown, err)
	case n != size:
		return fmt.Errorf("%w: %s%s of %s has %d bytes or more, not %d", ErrRefused, b.prefix, key, b.shown, n, size)
	}
	return nil
}

// write makes an object; after an error there is none.
func (b *Bucket) write(ctx context.Context, key string, size int64, from io.Reader) error {
	bucket, err := b.open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience(size))
	defer cancel() // before Close, it abandons what was written
	w, err := bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return fmt.Errorf("writing %s%s to %s: %w", b.prefix, key, b.shown, err)
	}
	if _, err := io.Copy(w, until{ctx, from}); err != nil {
		cancel()
		return fmt.Errorf("writing %s%s to %s: %w", b.prefix, key, b.shown, errors.Join(err, ignoreCanceled(w.Close())))
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("writing %s%s to %s: %w", b.prefix, key, b.shown, err)
	}
	return nil
}

// until reads until ctx ends, which not every driver looks at.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u until) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (b *Bucket) remove(ctx context.Context, key string) error {
	bucket, err := b.open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience(0))
	defer cancel()
	if err := bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("removing %s%s from %s: %w", b.prefix, key, b.shown, err)
	}
	return nil
}

// Keep removes all but the newest n checkpoints of a life, and the files that no
// checkpoint names any more, of whichever life. It may run beside a Put of
// another process: what that may have written lately is left for the next time.
func (b *Bucket) Keep(ctx context.Context, n int, of Life) error {
	there, err := b.list(ctx, files)
	if err != nil {
		return err
	}
	all, refused, err := b.List(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(refused, func(r Refused) bool { return r.newer }); i >= 0 {
		return fmt.Errorf("nothing is removed from %s: %w", b.shown, refused[i].Err)
	}
	var now time.Time // by the bucket's clock
	named := map[string]bool{}
	for _, m := range all {
		if m.Life == of {
			if n--; n < 0 {
				if err := b.remove(ctx, m.key); err != nil {
					return err
				}
				continue
			}
		}
		if m.written.After(now) {
			now = m.written
		}
		for _, f := range m.Files {
			named[f.SHA256] = true
		}
	}
	for _, o := range there {
		if !named[strings.TrimPrefix(o.key, files)] && now.Sub(o.changed) >= b.grace {
			if err := b.remove(ctx, o.key); err != nil {
				return err
			}
		}
	}
	return nil
}
