package checkpoint

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// places are the kinds of buckets that there are.
func places(t *testing.T, test func(t *testing.T, where string)) {
	t.Run("folder", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "bucket")) })
	t.Run("s3", func(t *testing.T) { test(t, startS3(t)+"&prefix=some/") })
}

func newBucket(t *testing.T, where string) *Bucket {
	t.Helper()
	b, err := New(where, "a/deployment")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// folder makes one of some files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

var life = Life{TransactionalID: "a/deployment", ClusterID: "c", Began: "b"}

func put(t *testing.T, b *Bucket, dir string, epoch int64, of Life) (Manifest, int64) {
	t.Helper()
	m := Manifest{Life: of, Epoch: epoch, SavedAt: time.UnixMilli(1e12 + epoch)}
	sent, err := b.Put(t.Context(), dir, &m)
	if err != nil {
		t.Fatal(err)
	}
	return m, sent
}

func list(t *testing.T, b *Bucket) []Manifest {
	t.Helper()
	all, refused, err := b.List(t.Context())
	if err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
	return all
}

// Against a model: folders that share files go in, old checkpoints of one of two
// lives go, and all that is listed gives the folder that it was made of.
func TestWhatIsKeptIsWhole(t *testing.T) {
	places(t, func(t *testing.T, where string) {
		b := newBucket(t, where)
		b.grace = 0
		r := rand.New(rand.NewPCG(1, 2))
		lives := []Life{life, {TransactionalID: "a/deployment", ClusterID: "c", Began: "later"}}
		kept := map[Life][]string{} // names, oldest first
		folders := map[string]map[string]string{}
		files := map[string]string{}
		for epoch := range int64(25) {
			for range 3 {
				files[fmt.Sprintf("%06d.sst", r.IntN(12))] = strings.Repeat(fmt.Sprint(r.IntN(1000)), r.IntN(4000))
			}
			delete(files, fmt.Sprintf("%06d.sst", r.IntN(12)))
			files["MANIFEST-000001"] = fmt.Sprint(epoch)
			of := lives[r.IntN(2)]
			m, _ := put(t, b, folder(t, files), epoch, of)
			kept[of] = append(kept[of], m.Name())
			folders[m.Name()] = map[string]string{}
			for k, v := range files {
				folders[m.Name()][k] = v
			}
			if r.IntN(3) == 0 {
				of, n := lives[r.IntN(2)], 1+r.IntN(3)
				if err := b.Keep(t.Context(), n, of); err != nil {
					t.Fatal(err)
				}
				kept[of] = kept[of][max(0, len(kept[of])-n):]
			}
			var want, got []string
			named := map[string]bool{}
			for _, names := range kept {
				want = append(want, names...)
			}
			for _, m := range list(t, b) {
				got = append(got, m.Name())
				dir := filepath.Join(t.TempDir(), "taken")
				if err := b.Get(t.Context(), &m, dir); err != nil {
					t.Fatal(err)
				}
				if taken := content(t, dir); fmt.Sprint(taken) != fmt.Sprint(folders[m.Name()]) {
					t.Fatalf("%s gives other files", m.Name())
				}
				for _, f := range m.Files {
					named[f.SHA256] = true
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Fatalf("there are %v, want %v", got, want)
			}
		}
		for _, of := range lives {
			if err := b.Keep(t.Context(), 1, of); err != nil {
				t.Fatal(err)
			}
		}
		named := map[string]bool{}
		for _, m := range list(t, b) {
			for _, f := range m.Files {
				named[f.SHA256] = true
			}
		}
		if there, err := b.list(t.Context(), "files/"); err != nil || len(there) != len(named) {
			t.Errorf("%d files are left, checkpoints name %d: %v", len(there), len(named), err)
		}
	})
}

// What a checkpoint before has is not sent again.
func TestOnlyWhatIsNewIsSent(t *testing.T) {
	places(t, func(t *testing.T, where string) {
		b := newBucket(t, where)
		dir := folder(t, map[string]string{"000001.sst": strings.Repeat("x", 1<<20), "MANIFEST-1": "one"})
		if _, sent := put(t, b, dir, 1, life); sent < 1<<20 {
			t.Errorf("%d bytes were sent", sent)
		}
		if err := os.WriteFile(filepath.Join(dir, "000002.sst"), []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, sent := put(t, newBucket(t, where), dir, 2, life); sent > 4096 {
			t.Errorf("%d bytes were sent again", sent)
		}
	})
}

// What another process wrote lately, and is about to name, is not removed.
func TestKeepLeavesWhatIsOnItsWay(t *testing.T) {
	b := newBucket(t, filepath.Join(t.TempDir(), "bucket"))
	put(t, b, folder(t, map[string]string{"1.sst": "one"}), 1, life)
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("on its way")))
	if err := b.write(t.Context(), "files/"+sum, 10, strings.NewReader("on its way")); err != nil {
		t.Fatal(err)
	}
	if err := b.Keep(t.Context(), 1, life); err != nil {
		t.Fatal(err)
	}
	if err := b.read(t.Context(), "files/"+sum, 10, &strings.Builder{}); err != nil {
		t.Error(err)
	}
}

// failing gives some bytes and then ends the upload.
type failing struct{ cancel func() }

func (f failing) Read(b []byte) (int, error) {
	f.cancel()
	return copy(b, "half of it"), nil
}

// An upload that is cut off leaves no checkpoint, and the one before as it was.
func TestAnUploadThatIsCutOff(t *testing.T) {
	places(t, func(t *testing.T, where string) {
		b := newBucket(t, where)
		m, _ := put(t, b, folder(t, map[string]string{"1.sst": "one"}), 1, life)
		for _, key := range []string{"files/" + fmt.Sprintf("%x", sha256.Sum256([]byte("two"))), "checkpoints/" + m.Name() + ".other"} {
			ctx, cancel := context.WithCancel(t.Context())
			if err := b.write(ctx, key, 3, failing{cancel}); err == nil {
				t.Error("it was written")
			}
			if err := b.read(t.Context(), key, 3, &strings.Builder{}); !errors.Is(err, ErrRefused) {
				t.Errorf("there is something: %v", err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		next := Manifest{Life: life, Epoch: 2, SavedAt: time.Now()}
		if _, err := b.Put(ctx, folder(t, map[string]string{"2.sst": "two"}), &next); err == nil {
			t.Error("a checkpoint was made")
		}
		if all := list(t, b); len(all) != 1 || all[0].Name() != m.Name() {
			t.Errorf("%v", all)
		}
	})
}

// Whatever one object of a bucket becomes, what is taken is what was put, or
// nothing.
func TestADamagedBucketIsNeverMisread(t *testing.T) {
	where := filepath.Join(t.TempDir(), "bucket")
	b := newBucket(t, where)
	files := map[string]string{"000001.sst": strings.Repeat("abc", 300), "000002.sst": "two", "MANIFEST-000001": strings.Repeat("m", 99)}
	put(t, b, folder(t, files), 1, life)
	var paths []string
	_ = filepath.WalkDir(where, func(path string, e fs.DirEntry, _ error) error {
		if !e.IsDir() {
			paths = append(paths, path)
		}
		return nil
	})
	r := rand.New(rand.NewPCG(3, 4))
	refusals := 0
	for range 400 {
		path := paths[r.IntN(len(paths))]
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		is := slices.Clone(was)
		switch at := r.IntN(len(is)); r.IntN(4) {
		case 0:
			is = is[:at]
		case 1:
			is[at] ^= 1 << r.IntN(8)
		case 2:
			is = append(is, 'x')
		default:
			is = nil
		}
		if err := os.WriteFile(path, is, 0o600); err != nil {
			t.Fatal(err)
		}
		if is == nil {
			err = os.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		all, refused, err := b.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		refusals += len(refused)
		for i := range all {
			dir := filepath.Join(t.TempDir(), "taken")
			switch err := b.Get(t.Context(), &all[i], dir); {
			case errors.Is(err, ErrRefused):
				refusals++
			case err != nil:
				t.Fatal(err)
			default:
				t.Fatalf("%s was damaged, and nobody noticed", path)
			}
		}
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if refusals < 200 {
		t.Errorf("%d refusals", refusals)
	}
}

// A manifest can't name files outside of the folder, whoever wrote it.
func TestNamesOfFiles(t *testing.T) {
	b := newBucket(t, filepath.Join(t.TempDir(), "bucket"))
	sum := fmt.Sprintf("%x", sha256.Sum256(nil))
	for _, name := range []string{"../x", "/etc/x", "a/b", "..", "", ".hidden", `a\b`} {
		m := Manifest{Version: version, Life: life, SavedAt: time.UnixMilli(1e12), Files: []File{{name, 0, sum}}}
		encoded := m.encode()
		if err := b.write(t.Context(), m.key, int64(len(encoded)), strings.NewReader(string(encoded))); err != nil {
			t.Fatal(err)
		}
		if err := b.Get(t.Context(), &m, filepath.Join(t.TempDir(), "taken")); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if all, refused, err := b.List(t.Context()); err != nil || len(all) > 0 || len(refused) != 7 {
		t.Errorf("%v, %v, %v", all, refused, err)
	}
	if err := b.Keep(t.Context(), 1, life); err == nil {
		t.Error("files may be removed that a manifest of a later version names")
	}
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{"/backup", "file:///backup", "s3://bucket", "s3://bucket/some/path?region=eu-west-1"} {
		if _, err := New(good, "d"); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "backup", "s3://", "file://host/x", "gs://bucket", "http://x/y", "s3:bucket", "\x00"} {
		if _, err := New(bad, "d"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if u, err := address("s3://bucket/some/path?region=r"); err != nil || u.Host != "bucket" || u.Path != "" || u.Query().Get("prefix") != "some/path/" {
		t.Errorf("%v, %v", u, err)
	}
}
