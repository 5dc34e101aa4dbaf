// Package compose_test checks deploy/compose.yaml as far as that can be done
// without Docker.
package compose_test

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"
	"go.yaml.in/yaml/v3"
)

const deploy = "../../deploy/"

type service struct {
	Image     string
	Build     struct{ Context, Dockerfile string }
	Volumes   []string
	EnvFile   []string `yaml:"env_file"`
	Ports     []string
	DependsOn map[string]any `yaml:"depends_on"`
}

type project struct {
	Services map[string]service
	Volumes  map[string]any
}

func load(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestComposeFollowsTheSpecification(t *testing.T) {
	var document map[string]any
	load(t, deploy+"compose.yaml", &document)
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	document["services"].(map[string]any)["kafka"].(map[string]any)["imagee"] = "x"
	if schema.Validate(document) == nil {
		t.Error("the schema takes anything")
	}
}

// fixed is a version with its last number: not latest, and not the newest of some.
var fixed = regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)*(-[a-z0-9]+)?$`)

// Images are the same tomorrow; what is mounted is there; what is depended on, too;
// ports are open to this machine only.
func TestComposeHangsTogether(t *testing.T) {
	var p project
	load(t, deploy+"compose.yaml", &p)
	names := slices.Sorted(maps.Keys(p.Services))
	if want := []string{"alertmanager", "clickhouse", "grafana", "kafka", "prometheus", "refundguard"}; !slices.Equal(names, want) {
		t.Errorf("services are %v, want %v", names, want)
	}
	for name, s := range p.Services {
		if s.Build.Context == "" && !fixed.MatchString(s.Image) {
			t.Errorf("%s: image %q has no fixed tag", name, s.Image)
		}
		if s.Build.Context != "" {
			exists(t, name, filepath.Join(deploy, s.Build.Context, s.Build.Dockerfile))
		}
		for _, file := range s.EnvFile {
			exists(t, name, deploy+file)
		}
		for other := range s.DependsOn {
			if _, ok := p.Services[other]; !ok {
				t.Errorf("%s depends on %q, which isn't there", name, other)
			}
		}
		for _, volume := range s.Volumes {
			from, to, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(from, ".") {
				exists(t, name, deploy+from)
				if !strings.HasSuffix(to, ":ro") {
					t.Errorf("%s: %s can be written to by a container", name, from)
				}
			} else if _, ok := p.Volumes[from]; !ok {
				t.Errorf("%s: volume %q isn't there", name, from)
			}
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to everybody", name, port)
			}
		}
	}
}

func exists(t *testing.T, name, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

var copies = regexp.MustCompile(`(?m)^COPY (?:--from=\S+ )?(.*) \S+$`)

func TestDockerfileIsFixed(t *testing.T) {
	text, err := os.ReadFile(deploy + "Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stages := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(stages) != 2 {
		t.Errorf("%d stages, want 2", len(stages))
	}
	for _, s := range stages {
		if !fixed.MatchString(s[1]) {
			t.Errorf("image %q has no fixed tag", s[1])
		}
	}
	for _, c := range copies.FindAllStringSubmatch(string(text), -1) {
		for _, from := range strings.Fields(c[1]) {
			if !strings.HasPrefix(from, "/") {
				exists(t, "Dockerfile", filepath.Join("../..", from))
			}
		}
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(mod)[1]; !strings.HasPrefix(stages[0][1], "golang:"+string(want)+"-") {
		t.Errorf("it is built with %s, and go.mod says %s", stages[0][1], want)
	}
}

// Prometheus, Grafana and refundguard meet at the addresses that compose gives, and
// secrets are those of demo.env.
func TestConfigurationsMeet(t *testing.T) {
	var p project
	load(t, deploy+"compose.yaml", &p)
	secrets := map[string]string{}
	file, err := os.Open(deploy + "compose/demo.env")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(name, "#") {
			secrets[name] = value
		}
	}
	var sources struct {
		Datasources []struct {
			UID, Type, URL string
			JSONData       struct {
				Host string
			} `yaml:"jsonData"`
			Secure map[string]string `yaml:"secureJsonData"`
		}
	}
	load(t, deploy+"grafana/provisioning/datasources.yaml", &sources)
	types := map[string]string{}
	for _, d := range sources.Datasources {
		types[d.Type] = d.UID
		host := d.JSONData.Host + strings.Split(strings.TrimPrefix(d.URL, "http://"), ":")[0]
		if _, ok := p.Services[host]; !ok {
			t.Errorf("data source %s is at %q, which is no service", d.UID, host)
		}
		for _, secret := range d.Secure {
			if !strings.HasPrefix(secret, "$") || secrets[secret[1:]] == "" {
				t.Errorf("data source %s: the secret is %q, want one of demo.env", d.UID, secret)
			}
		}
	}
	if want := map[string]string{"grafana-clickhouse-datasource": "refundguard-clickhouse", "prometheus": "refundguard-prometheus"}; !maps.Equal(types, want) {
		t.Errorf("data sources are %v, want %v", types, want)
	}
	if secrets["CLICKHOUSE_PASSWORD"] != secrets["REFUNDGUARD_CLICKHOUSE_PASSWORD"] {
		t.Error("refundguard has another password than ClickHouse")
	}
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	load(t, deploy+"grafana/provisioning/dashboards.yaml", &providers)
	if path := providers.Providers[0].Options.Path; !slices.Contains(p.Services["grafana"].Volumes, "../dashboards:"+path+":ro") {
		t.Errorf("the dashboards are looked for in %s, where nothing is mounted", path)
	}
	var prometheus struct {
		Scrape []struct {
			Job    string                       `yaml:"job_name"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	load(t, deploy+"prometheus/prometheus.yml", &prometheus)
	if len(prometheus.Scrape) != 1 || prometheus.Scrape[0].Job != "refundguard" || !slices.Equal(prometheus.Scrape[0].Static[0].Targets, []string{"refundguard:8080"}) {
		t.Errorf("it scrapes %+v", prometheus.Scrape)
	}
}
