package settings_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
)

var update = flag.Bool("update", false, "rewrite the expected messages in testdata")

type sample struct {
	Kafka   broker `koanf:"kafka"`
	Inner   `koanf:",squash"`
	Hooks   []hook            `koanf:"hooks"`
	Streams map[string]stream `koanf:"streams"`
	Rates   map[string]string `koanf:"rates"`
	Hidden  string            `koanf:"-"`
	Levels  levels            `koanf:"levels"`
}

// levels can be written as one value.
type levels map[string]int

func (levels) Keys() []string { return []string{"low", "high"} }

type Inner struct {
	Dir   string        `koanf:"dir"`
	Keep  time.Duration `koanf:"keep"`
	Size  int           `koanf:"max_bytes"`
	Share float64       `koanf:"share"`
}

type broker struct {
	Seeds  []string `koanf:"seed_brokers"`
	Create bool     `koanf:"create_topics"`
	Logins []login  `koanf:"sasl"`
	TLS    struct {
		CAFile string `koanf:"ca_file"`
	} `koanf:"tls"`
}

type login struct {
	User     string `koanf:"username"`
	Password string `koanf:"password"`
}

type hook struct {
	Name    string            `koanf:"name"`
	URL     string            `koanf:"url"`
	Tries   int               `koanf:"tries"`
	Pauses  []time.Duration   `koanf:"pauses"`
	Headers map[string]string `koanf:"headers"`
}

type stream struct {
	Topic  string `koanf:"topic"`
	Fields map[string]struct {
		Type string `koanf:"type"`
		From string `koanf:"from"`
	} `koanf:"fields"`
}

func defaults() sample {
	s := sample{Streams: map[string]stream{}, Rates: map[string]string{"USD": "1"}}
	s.Kafka.Create = true
	s.Dir = "rules"
	s.Keep = 400 * 24 * time.Hour
	return s
}

func loader() settings.Loader {
	return settings.Loader{
		Prefix:    "APP_",
		Ignore:    func(name string) bool { return strings.HasPrefix(name, "APP_TEST_") },
		Items:     []any{hook{Tries: 3}},
		Renamed:   map[string]string{"bootstrap_servers": "seed_brokers"},
		UpperKeys: []string{"rates"},
	}
}

func load(t *testing.T, yaml string, environ ...string) (sample, *settings.Loaded, error) {
	t.Helper()
	s := defaults()
	loaded, err := loader().Load(&s, "app.yaml", []byte(yaml), environ)
	return s, loaded, err
}

const whole = `# a comment
kafka:
  seed_brokers: [a:1, "b:2"]
  create_topics: false
  sasl: {username: u, password: 0123}   # one in place of a list
dir: /srv
keep: 1d12h
max_bytes: 64KiB
share: 0.25
hooks:
  - name: one
    url: https://example.com/T0KEN
    pauses: [5s, 2h]
  - {name: two, url: "http://x", tries: 9, headers: {Authorization: Bearer abc}}
streams:
  refunds: {topic: r}
  ledger_results:
    fields: {coupon: {type: string, from: payload.coupon}}
rates:
  EUR: 1.080
  GBP: 1.27e0
`

func TestFile(t *testing.T) {
	got, loaded, err := load(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Kafka.Seeds = []string{"a:1", "b:2"}
	want.Kafka.Create = false
	want.Kafka.Logins = []login{{"u", "0123"}}
	want.Inner = Inner{Dir: "/srv", Keep: 36 * time.Hour, Size: 64 << 10, Share: 0.25}
	want.Hooks = []hook{
		{Name: "one", URL: "https://example.com/T0KEN", Tries: 3, Pauses: []time.Duration{5 * time.Second, 2 * time.Hour}},
		{Name: "two", URL: "http://x", Tries: 9, Headers: map[string]string{"Authorization": "Bearer abc"}},
	}
	want.Streams["refunds"] = stream{Topic: "r"}
	ledger := stream{Fields: map[string]struct {
		Type string `koanf:"type"`
		From string `koanf:"from"`
	}{}}
	ledger.Fields["coupon"] = struct {
		Type string `koanf:"type"`
		From string `koanf:"from"`
	}{"string", "payload.coupon"}
	want.Streams["ledger_results"] = ledger
	want.Rates = map[string]string{"USD": "1", "EUR": "1.080", "GBP": "1.27e0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for key, want := range map[string]string{"keep": "app.yaml:7", "hooks[1].tries": "app.yaml:14", "hooks[0].tries": "default", "rates.USD": "default"} {
		if got := loaded.Origin(key); got != want {
			t.Errorf("%s comes from %s, want %s", key, got, want)
		}
	}
	if !loaded.Set("kafka") || !loaded.Set("hooks") || loaded.Set("kafka.tls") || loaded.Set("kaf") {
		t.Error("Set is wrong about what the file sets")
	}
}

func TestEmptyFiles(t *testing.T) {
	for _, yaml := range []string{"", "\n", "# nothing\n", "---\n", "kafka:\nhooks:\nkeep:\n", "{}"} {
		got, _, err := load(t, yaml)
		if err != nil {
			t.Errorf("%q: %v", yaml, err)
		}
		if diff := cmp.Diff(defaults(), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q: %s", yaml, diff)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got, loaded, err := load(t, whole,
		"PATH=/bin", "APP_TEST_X=1", "APP_DIR=/env", "APP_KEEP=", "APP_MAX_BYTES=7",
		"APP_KAFKA_SEED_BROKERS=c:3, d:4", "APP_KAFKA_CREATE_TOPICS=true",
		"APP_KAFKA_SASL_PASSWORD=pw", "APP_KAFKA_TLS_CA_FILE=/ca",
		"APP_HOOKS_2_NAME=three", "APP_HOOKS_1_TRIES=1", "APP_HOOKS_0_PAUSES=1s,1d", "APP_HOOKS_1_HEADERS_X_ID=7",
		"APP_STREAMS_REFUNDS_TOPIC=e", "APP_STREAMS_LEDGER_RESULTS_FIELDS_COUPON_FROM=p.c", "APP_STREAMS_CHARGE_BACKS_TOPIC=cb",
		"APP_RATES_EUR=2", "APP_RATES_CHF=3")
	if err != nil {
		t.Fatal(err)
	}
	for name, check := range map[string]bool{
		"scalar":              got.Dir == "/env",
		"empty is unset":      got.Keep == 36*time.Hour,
		"int":                 got.Size == 7,
		"list":                reflect.DeepEqual(got.Kafka.Seeds, []string{"c:3", "d:4"}),
		"bool":                got.Kafka.Create,
		"item without number": reflect.DeepEqual(got.Kafka.Logins, []login{{"u", "pw"}}),
		"nested section":      got.Kafka.TLS.CAFile == "/ca",
		"new item":            len(got.Hooks) == 3 && got.Hooks[2].Name == "three" && got.Hooks[2].Tries == 3,
		"existing item":       got.Hooks[1].Tries == 1 && got.Hooks[1].Name == "two",
		"list of durations":   reflect.DeepEqual(got.Hooks[0].Pauses, []time.Duration{time.Second, 24 * time.Hour}),
		"known name":          got.Streams["refunds"].Topic == "e",
		"name with _":         got.Streams["ledger_results"].Fields["coupon"].From == "p.c" && got.Streams["ledger_results"].Fields["coupon"].Type == "string",
		"new name":            got.Streams["charge_backs"].Topic == "cb",
		"upper-case names":    got.Rates["EUR"] == "2" && got.Rates["CHF"] == "3" && got.Rates["GBP"] == "1.27e0",
		"origin":              loaded.Origin("dir") == "environment APP_DIR" && loaded.Set("kafka.tls"),
	} {
		if !check {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// One value in place of a table whose keys are known is that of all of them.
func TestOneValueForATable(t *testing.T) {
	for _, c := range []struct {
		yaml    string
		environ []string
		want    levels
		origin  string // of levels.low
	}{
		{"levels: 3", nil, levels{"low": 3, "high": 3}, "app.yaml:1"},
		{"levels: {high: 3}", nil, levels{"low": 1, "high": 3}, "default"},
		{"levels: null", nil, levels{"low": 1, "high": 2}, "default"},
		{"levels: {high: 3}", []string{"APP_LEVELS=4"}, levels{"low": 4, "high": 4}, "environment APP_LEVELS"},
		{"levels: 3", []string{"APP_LEVELS_HIGH=5", "APP_LEVELS=4"}, levels{"low": 4, "high": 5}, "environment APP_LEVELS"},
	} {
		s := defaults()
		s.Levels = levels{"low": 1, "high": 2}
		loaded, err := loader().Load(&s, "app.yaml", []byte(c.yaml), c.environ)
		if err != nil || !reflect.DeepEqual(s.Levels, c.want) || loaded.Origin("levels.low") != c.origin {
			t.Errorf("%s %v: %v, %v from %s; want %v from %s", c.yaml, c.environ, err, s.Levels, loaded.Origin("levels.low"), c.want, c.origin)
		}
	}
	for yaml, want := range map[string]string{"levels: much": `levels.low: "much" is not a whole number`, "levels: [1]": "levels: wants names", "rates: 1": "rates: wants names"} {
		if _, _, err := load(t, yaml); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", yaml, err)
		}
	}
	if _, _, err := load(t, "", "APP_LEVELS=much"); err == nil || err.Error() != `APP_LEVELS: "much" is not a whole number` {
		t.Error(err)
	}
}

func TestEnvironmentFaults(t *testing.T) {
	_, _, err := load(t, whole, "APP_KAFKA_SEED_BROKER=x", "APP_NOPE=", "APP_KEEP=5", "APP_HOOKS_7_NAME=x",
		"APP_KAFKA_SASL_PASSWORD=a", "APP_KAFKA_SASL_0_PASSWORD=b", "APP_KAFKA=x", "APP_STREAMS=x", "APP_KAFKA_CREATE_TOPICS=yes")
	want := `APP_KAFKA_SEED_BROKER: no such setting; did you mean "APP_KAFKA_SEED_BROKERS"?
APP_NOPE: no such setting; a setting's variable is its path in upper case, joined by _
APP_KAFKA: no such setting; a setting's variable is its path in upper case, joined by _
APP_STREAMS: no such setting; a setting's variable is its path in upper case, joined by _
APP_HOOKS_7_NAME: is number 7 of hooks, which has 2; numbers begin at 0, without gaps
APP_KAFKA_CREATE_TOPICS: "yes" is neither true nor false
APP_KAFKA_SASL_0_PASSWORD: sets the same key as APP_KAFKA_SASL_PASSWORD; remove one
APP_KEEP: "5" is not a duration such as 500ms, 30s, 15m, 4h or 7d`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// Each bad file stands beside the message that it must give.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := defaults()
		_, err = loader().Load(&s, filepath.Base(file), content, nil)
		if err == nil {
			t.Errorf("%s: accepted", file)
			continue
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, _ := os.ReadFile(golden)
		if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
	}
}

// What a package's Validate says is shown where the key was set.
func TestFaultsAreLocated(t *testing.T) {
	_, loaded, err := load(t, whole, "APP_DIR=/env")
	if err != nil {
		t.Fatal(err)
	}
	faults := loaded.Faults("kafka", errors.Join(errors.New("seed_brokers[1]: is wrong"), errors.New("tls.ca_file: is missing")))
	faults = append(faults, loaded.Faults("", errors.New("dir is empty"))...)
	faults = append(faults, loaded.Faults("", errors.New("hooks[1] two: name: is taken"))...)
	faults = append(faults, loaded.Faults("", errors.New("limits are too small"))...)
	faults.Sort()
	want := `app.yaml:2:1: kafka.tls.ca_file: is missing
   2 | kafka:
       ^
app.yaml:3:23: kafka.seed_brokers[1]: is wrong
   3 |   seed_brokers: [a:1, "b:2"]
                             ^
app.yaml:14:5: hooks[1] two: name: is taken
  14 |   - {name: two, url: ********, tries: 9, headers: {********: ********}}
           ^
environment APP_DIR: dir is empty
app.yaml: limits are too small`
	if got := faults.Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// Nothing that is printed holds a secret, whatever else is wrong with the file.
func TestSecretsStaySecret(t *testing.T) {
	secrets := []string{"S3CRETpw", "S3CREThook", "S3CREThead"}
	text := `kafka:
  sasl: [{username: u, password: S3CRETpw}]
hooks:
  - name: one
    url: https://example.com/S3CREThook
    headers:
      Authorization: S3CREThead
  - {name: "x", url: "https://S3CREThook:S3CREThook@h/?q=S3CREThook"}
keep: 1h
`
	s, loaded, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	section := settings.Show(s)
	yaml, err := section.YAML(loaded.Origin)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(section)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{string(yaml), string(asJSON)} {
		if strings.Contains(shown, "S3CRET") || !strings.Contains(shown, settings.Hidden) {
			t.Errorf("shows a secret, or hides nothing:\n%s", shown)
		}
	}
	// Break the file at any place but in the secrets themselves.
	rapid.Check(t, func(t *rapid.T) {
		broken := text
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			i := rapid.IntRange(0, len(broken)-1).Draw(t, "at")
			insert := rapid.SampledFrom([]string{"", " ", "x", "\n", ":", "{", "]", "\"", "'", "-", "\t", "#", "&", "!", "|", ","}).Draw(t, "insert")
			cut := rapid.IntRange(0, 1).Draw(t, "cut")
			edited := broken[:i] + insert + broken[i+cut:]
			whole := true
			for _, secret := range secrets {
				whole = whole && strings.Count(edited, secret) == strings.Count(broken, secret)
			}
			if whole {
				broken = edited
			}
		}
		s := defaults()
		_, err := loader().Load(&s, "app.yaml", []byte(broken), nil)
		if err != nil && strings.Contains(err.Error(), "S3CRET") {
			t.Fatalf("the file\n%s\ngives\n%v", broken, err)
		}
	})
}

// What is printed can be read again.
func TestPrintedFileLoads(t *testing.T) {
	s, loaded, err := load(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	yaml, err := settings.Show(s).YAML(loaded.Origin)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := load(t, string(yaml))
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	for i := range again.Hooks {
		again.Hooks[i].URL, again.Hooks[i].Headers = s.Hooks[i].URL, s.Hooks[i].Headers
	}
	again.Kafka.Logins = s.Kafka.Logins
	if diff := cmp.Diff(s, again, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "15m": 15 * time.Minute, "1.5h": 90 * time.Minute, "400d": 9600 * time.Hour, "2w": 336 * time.Hour, "1d12h": 36 * time.Hour,
		"-5s": -5 * time.Second, "25ms": 25 * time.Millisecond, "3µs": 3 * time.Microsecond,
	} {
		got, err := settings.ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := settings.ParseDuration(settings.FormatDuration(got)); err != nil || again != got {
			t.Errorf("%s is written as %s: %v", text, settings.FormatDuration(got), err)
		}
	}
	for _, text := range []string{"", "5", "s", "5 s", "5y", "1..2s", "1h5", "--5s", "999999w", "1e9s", "∞"} {
		if d, err := settings.ParseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, d)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(whole), "APP_KEEP", "5d")
	files, _ := filepath.Glob("testdata/*.bad.yaml")
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, "APP_HOOKS_0_PAUSES", ",")
	}
	f.Fuzz(func(t *testing.T, yaml []byte, variable, value string) {
		s := defaults()
		loaded, err := loader().Load(&s, "app.yaml", yaml, []string{variable + "=" + value})
		var faults settings.Faults
		if err != nil && !errors.As(err, &faults) {
			t.Fatalf("not a fault of the file: %v", err)
		}
		if _, err := settings.Show(s).YAML(loaded.Origin); err != nil {
			t.Fatal(err)
		}
	})
}

// Text that is made to hurt a parser is refused before it does.
func TestBombs(t *testing.T) {
	var deep strings.Builder
	for i := range 300 {
		deep.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, yaml := range map[string]string{
		"open brackets": strings.Repeat("[", 100_000),
		"open braces":   strings.Repeat("{a: ", 30_000),
		"closed lists":  strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000),
		"dashes":        strings.Repeat("- ", 50_000),
		"deep mapping":  deep.String(),
		"many keys":     strings.Repeat("a: b\n", 5_000),
		"too large":     strings.Repeat("# padding\n", 20_000),
		"open quotes":   strings.Repeat(`"`, 100_001),
		"aliases":       "dir: &a [x,x]\nkeep: &b [*a,*a,*a]\nshare: &c [*b,*b,*b]\n",
	} {
		if _, _, err := load(t, yaml); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
