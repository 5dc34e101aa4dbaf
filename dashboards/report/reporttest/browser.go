// Package reporttest looks at a page in a real browser, for tests.
package reporttest

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Page is what the browser made of a file.
type Page struct {
	DOM     string      // after all that it did, as HTML
	Console []string    // what it logged: errors of scripts, and of what the policy forbids
	Image   image.Image // what is seen first
}

var consoleLine = regexp.MustCompile(`CONSOLE[^\]]*\] (.*)`)

// Open opens the file in headless Chromium. Without one the test is skipped, on
// the build server it fails.
func Open(t *testing.T, file string) Page {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing: install the package chromium")
		}
		t.Skip("chromium is missing (Debian: chromium)")
	}
	dir := t.TempDir()
	shot := filepath.Join(dir, "page.png")
	run := func(args ...string) (stdout, stderr string) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
			"--user-data-dir=" + filepath.Join(dir, "profile"), "--enable-logging=stderr", "--log-level=0", "--window-size=1200,2400", "--force-device-scale-factor=1"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("chromium: %v\n%s", err, errs.String())
		}
		return out.String(), errs.String()
	}
	address := "file://" + file
	p := Page{}
	var log string
	p.DOM, log = run("--dump-dom", address)
	for _, m := range consoleLine.FindAllStringSubmatch(log, -1) {
		p.Console = append(p.Console, strings.TrimSpace(m[1]))
	}
	run("--screenshot="+shot, address)
	f, err := os.Open(shot)
	if err != nil {
		t.Fatalf("no screenshot: %v", err)
	}
	defer f.Close()
	if p.Image, err = png.Decode(f); err != nil {
		t.Fatalf("the screenshot: %v", err)
	}
	return p
}

// Drawn says how much of the picture is not its background: the share of its
// cells of 40 by 40 pixels in which there is anything, and how many colors.
func (p Page) Drawn() (cells float64, colors int) {
	const side = 40
	b := p.Image.Bounds()
	seen := map[[3]uint32]bool{}
	full, all := 0, 0
	for y := b.Min.Y; y+side <= b.Max.Y; y += side {
		for x := b.Min.X; x+side <= b.Max.X; x += side {
			here := map[[3]uint32]bool{}
			for dy := range side {
				for dx := range side {
					r, g, bl, _ := p.Image.At(x+dx, y+dy).RGBA()
					here[[3]uint32{r >> 8, g >> 8, bl >> 8}] = true
				}
			}
			if all++; len(here) > 1 {
				full++
			}
			for c := range here {
				seen[c] = true
			}
		}
	}
	return float64(full) / float64(all), len(seen)
}

var (
	aPanel = regexp.MustCompile(`(?s)<section class="panel[^"]*" id="([^"]+)".*?</section>`)
	aValue = regexp.MustCompile(`<data value="([^"]*)">([^<]*)</data>`)
)

// Value is a number of the page: exact, and as it reads.
type Value struct{ Raw, Text string }

// Panel is one of the page's.
type Panel struct {
	HTML   string
	Values []Value // its numbers, in their order
}

// Panels are the page's, by id.
func (p Page) Panels() map[string]Panel {
	all := map[string]Panel{}
	for _, section := range aPanel.FindAllStringSubmatch(p.DOM, -1) {
		found := Panel{HTML: section[0]}
		for _, v := range aValue.FindAllStringSubmatch(section[0], -1) {
			found.Values = append(found.Values, Value{v[1], v[2]})
		}
		all[section[1]] = found
	}
	return all
}
