package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/privacy"
	"github.com/refundguard/refundguard/sinks/webhook"
)

// config is the whole configuration: each package's own, put together.
type config struct {
	Kafka      kafka.Config      `koanf:"kafka"`
	Pipeline   pipeline.Config   `koanf:",squash"`
	ClickHouse clickhouse.Config `koanf:"clickhouse"`
	Webhooks   webhook.Config    `koanf:"webhooks"`
	Privacy    privacy.Config    `koanf:"privacy"`
	HTTP       httpConfig        `koanf:"http"`
	Log        logConfig         `koanf:"log"`
}

type httpConfig struct {
	Listen string `koanf:"listen"` // "": no HTTP server
}

type logConfig struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

func defaultConfig() config {
	return config{
		Kafka:      kafka.DefaultConfig(),
		Pipeline:   pipeline.DefaultConfig(),
		ClickHouse: clickhouse.DefaultConfig(),
		Webhooks:   webhook.DefaultConfig(),
		HTTP:       httpConfig{Listen: "127.0.0.1:8080"},
		Log:        logConfig{Level: "info", Format: "auto"},
	}
}

// loaded is a configuration with what is wrong with it.
type loaded struct {
	config
	from   *settings.Loaded
	shown  settings.Section // before secrets were read from files
	faults settings.Faults  // of reading; the sections' own are found by check
}

// loadConfig reads the file, or none if it is "", and the environment. The
// error is of the file itself: it can't be read.
func loadConfig(file string, environ []string) (*loaded, error) {
	var content []byte
	if file != "" {
		var err error
		if content, err = os.ReadFile(file); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, usage{fmt.Errorf("the configuration %s does not exist; deploy/refundguard.yaml is an example", file)}
			}
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
	}
	l := &loaded{config: defaultConfig()}
	loader := settings.Loader{
		Prefix: "REFUNDGUARD_",
		Ignore: notASetting.MatchString,
		Items:  []any{webhook.DefaultEndpoint()},
		Renamed: map[string]string{
			"addresses": "seed_brokers", "brokers": "seed_brokers", "bootstrap_servers": "seed_brokers",
			"bootstrap.servers": "seed_brokers", "root_cas_file": "ca_file", "insecure_skip_verify": "skip_cert_verify",
			"user": "username",
		},
		UpperKeys: []string{"currency.rates"},
	}
	var err error
	l.from, err = loader.Load(&l.config, file, content, environ)
	if err != nil && !errors.As(err, &l.faults) {
		return nil, err
	}
	l.shown = settings.Show(l.withTopics())
	l.faults = append(l.faults, l.readSecrets()...)
	return l, nil
}

// readConfig is loadConfig for a command that needs every setting read, and
// nothing of the sections that it doesn't work with.
func readConfig(file string) (*loaded, error) {
	l, err := loadConfig(file, os.Environ())
	if err == nil && len(l.faults) > 0 {
		return nil, l.faults
	}
	return l, err
}

// readClickHouse is readConfig for a command that works with ClickHouse.
func readClickHouse(file string, observe bool) (*loaded, error) {
	l, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	if err := l.ClickHouse.Validate(); err != nil {
		return nil, l.from.Faults("clickhouse", err)
	}
	if observe {
		l.config = l.observed()
	}
	return l, nil
}

// withTopics is the configuration with every stream's topic, which is that of
// the schema where it is not set.
func (l *loaded) withTopics() config {
	c := l.config
	schema, err := c.Pipeline.Schema()
	if err != nil {
		return c // what is wrong is told by check
	}
	c.Pipeline.Streams = maps.Clone(c.Pipeline.Streams)
	for _, st := range schema.Streams {
		s := c.Pipeline.Streams[st.Name]
		s.Topic = st.Topic
		c.Pipeline.Streams[st.Name] = s
	}
	return c
}

// notASetting matches variables that begin like a setting's and are none: our
// own that are not settings, and those that Kubernetes makes of a service
// called refundguard.
var notASetting = regexp.MustCompile(`^REFUNDGUARD_(` +
	`CONFIG|RETAIL|CLICKHOUSE_CHILD|(TEST|DEMO|CI)_.*|` +
	`(.+_)?SERVICE_(HOST|PORT(_.+)?)|(.+_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// readSecrets fills the secrets of webhooks from their files. Kafka's and
// ClickHouse's packages read their own.
func (l *loaded) readSecrets() (faults settings.Faults) {
	l.Webhooks = slices.Clone(l.Webhooks)
	for i := range l.Webhooks {
		hook := &l.Webhooks[i]
		key := fmt.Sprintf("webhooks[%d].secret_file", i)
		switch {
		case hook.SecretFile == "":
		case hook.Secret != "":
			faults = append(faults, l.from.Faults("", fmt.Errorf("%s: is set beside secret; give one of the two", key))...)
		default:
			var err error
			if hook.Secret, err = connect.Secret("", hook.SecretFile, key); err != nil {
				faults = append(faults, l.from.Faults("", err)...)
			}
		}
	}
	return faults
}

// check reports every fault, those of the files that are named included. It
// connects to nothing.
func (l *loaded) check() error {
	faults := slices.Clone(l.faults)
	add := func(prefix string, err error) {
		faults = append(faults, l.faults.Missing(l.from.Faults(prefix, err))...)
	}
	if err := l.Kafka.Validate(); err != nil {
		add("kafka", err)
	} else if _, err := l.Kafka.Options(slog.New(slog.DiscardHandler)); err != nil {
		add("kafka", err)
	}
	add("", l.Pipeline.Validate())
	if l.clickhouseOn() {
		add("clickhouse", checkClickHouse(l.config))
	}
	_, err := l.pseudonymizer()
	add("privacy", err)
	add("", l.Webhooks.Validate())
	add("http", l.HTTP.validate())
	add("log", l.Log.validate())
	if len(faults) == 0 {
		return nil
	}
	faults.Sort()
	return faults
}

// clickhouseOn reports whether the section says anything: settings without an
// address are a fault rather than a sink that is silently off.
func (l *loaded) clickhouseOn() bool {
	off := clickhouse.DefaultConfig()
	off.Addr = l.ClickHouse.Addr
	return len(off.Addr) > 0 || !reflect.DeepEqual(l.ClickHouse, off)
}

// checkClickHouse builds what run would, which reads the files that are named.
func checkClickHouse(c config) error {
	if err := c.ClickHouse.Validate(); err != nil {
		return err
	}
	sink, err := clickhouse.New(c.ClickHouse, clickhouseDeps(c.Pipeline))
	if err != nil {
		return err
	}
	return sink.Close()
}

// clickhouseDeps is what the sink has to know of the rest.
func clickhouseDeps(c pipeline.Config) clickhouse.Deps {
	t := c.Names()
	schema, err := c.Schema()
	if err != nil {
		schema = nil // c.Validate says what is wrong with it
	}
	return clickhouse.Deps{
		Topics: clickhouse.Topics{Decisions: t.Decisions, Alerts: t.Alerts, Labels: t.Labels, Cases: t.Cases, Status: t.Status, DeadLetters: t.DeadLetters},
		Schema: schema,
		Limits: event.Limits{MaxBytes: c.Limits.MaxRecordBytes, MaxDepth: c.Limits.MaxDepth, MaxFieldBytes: c.Limits.MaxFieldBytes},
	}
}

func (c httpConfig) validate() error {
	if c.Listen == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf(`listen: %q is not host:port such as 127.0.0.1:8080; "" is no HTTP server`, c.Listen)
	} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("listen: %q has a port that is not a number up to 65535", c.Listen)
	}
	return nil
}

// observed is the configuration of an instance that decides beside a live one:
// nothing that it writes, or reads with, may be the live one's.
func (c config) observed() config {
	const mark = "-observe"
	c.Pipeline.Observe = true // its topics and its transactional.id
	if c.Pipeline.State.Dir != "" {
		c.Pipeline.State.Dir += mark
	}
	c.ClickHouse.Database = cmp.Or(c.ClickHouse.Database, "refundguard") + "_observe"
	c.ClickHouse.Group += mark
	c.Webhooks = nil // the live one alerts
	return c
}
