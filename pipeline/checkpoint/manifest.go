package checkpoint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Life is a deployment on a cluster since it began there. Checkpoints of one life
// are of one state, earlier and later.
type Life struct {
	TransactionalID string `json:"transactional_id"`
	ClusterID       string `json:"cluster_id"`
	Began           string `json:"began"`
}

// Manifest is what a checkpoint says of itself.
type Manifest struct {
	Version int `json:"version"`
	Life
	Epoch   int64             `json:"epoch"`
	SavedAt time.Time         `json:"saved_at"`
	Topics  map[string]string `json:"topics"`          // ids by name
	Final   bool              `json:"final,omitempty"` // nothing was left undecided, and nothing came after
	Files   []File            `json:"files"`

	key     string
	written time.Time
}

// File is one of the folder.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// version is of the manifest's format.
const version = 1

// maxManifest bounds what is read of a bucket before its sum is known.
const maxManifest = 64 << 20

// Name tells a checkpoint from others of its bucket.
func (m *Manifest) Name() string {
	if n := len(manifests); len(m.key) > n {
		return m.key[n:]
	}
	return ""
}

// Sum is the SHA-256 of the manifest, in hexadecimal.
func (m *Manifest) Sum() string {
	if named := manifestName.FindStringSubmatch(m.key); named != nil {
		return named[1]
	}
	return ""
}

// Bytes is how large the folder is.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// fileName is what a file may be called: none of another folder.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (m *Manifest) check() error {
	if m.Version != version {
		return fmt.Errorf("its format is version %d, this program's is %d", m.Version, version)
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		if sum, err := hex.DecodeString(f.SHA256); !fileName.MatchString(f.Name) || seen[f.Name] || f.Size < 0 || err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("it names a file %q of %d bytes, sum %q", f.Name, f.Size, f.SHA256)
		}
		seen[f.Name] = true
	}
	return nil
}

// encode gives the manifest the name that says what it must hold.
func (m *Manifest) encode() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // no such type in it
	}
	sum := sha256.Sum256(b)
	at := m.SavedAt.UTC()
	m.key = fmt.Sprintf("%s%s%03dZ-%d-%x.json", manifests, at.Format("20060102T150405"), at.Nanosecond()/1e6, m.Epoch, sum)
	return b
}

// Refused is a manifest that can't be read.
type Refused struct {
	Name  string
	Err   error
	newer bool // it is whole, and of a format that isn't ours
}

// List reads the manifests of this deployment, the newest first.
func (b *Bucket) List(ctx context.Context) (all []Manifest, refused []Refused, err error) {
	there, err := b.list(ctx, manifests)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range there {
		named := manifestName.FindStringSubmatch(o.key)
		if named == nil {
			continue // not ours
		}
		var content bytes.Buffer
		m, err := Manifest{key: o.key, written: o.changed}, error(nil)
		if o.size > maxManifest {
			err = fmt.Errorf("%w: it has %d bytes", ErrRefused, o.size)
		} else {
			err = b.read(ctx, o.key, o.size, &content)
		}
		newer := false
		if err == nil {
			newer, err = m.decode(content.Bytes(), named[1])
		}
		switch {
		case err == nil:
			all = append(all, m)
		case errors.Is(err, ErrRefused):
			refused = append(refused, Refused{m.Name(), fmt.Errorf("the checkpoint %s: %w", m.Name(), err), newer})
		default:
			return nil, nil, err
		}
	}
	slices.SortFunc(all, func(x, y Manifest) int {
		if x.Life == y.Life {
			if c := cmp.Compare(y.Epoch, x.Epoch); c != 0 {
				return c
			}
		}
		return y.SavedAt.Compare(x.SavedAt)
	})
	return all, refused, nil
}

func (m *Manifest) decode(b []byte, sum string) (newer bool, err error) {
	if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != sum {
		return false, fmt.Errorf("%w: it isn't what was written (sum %x)", ErrRefused, got)
	}
	if err := json.Unmarshal(b, m); err != nil {
		return true, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := m.check(); err != nil {
		return true, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return false, nil
}
