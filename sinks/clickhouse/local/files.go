package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// Names of the files in Config.Dir.
const (
	configFile = "config.xml"
	usersFile  = "users.xml"
	startFile  = "start.sql"
	logFile    = "engine.log"
	lockFile   = "lock"
	dataDir    = "data"
)

// startSQL opens HTTP last: once that answers, both do.
const startSQL = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP;\n"

// The user default has no password and is what the library's own bootstrap
// logs in as; unconfigured it could read any local file through file(). So it
// may only open the listeners. The database `default` of the library shows
// files as tables, hence no user sees it.
var configTemplate = template.Must(template.New(configFile).Funcs(template.FuncMap{"x": escape}).Parse(`<clickhouse>
  <display_name>{{x .Name}}</display_name>
  <listen_host>127.0.0.1</listen_host>
  <tcp_port>{{.Port}}</tcp_port>
  <http_port>{{.HTTPPort}}</http_port>
  <path>{{x .Data}}/</path>
  <tmp_path>{{x .Data}}/tmp/</tmp_path>
  <user_files_path>{{x .Data}}/user_files/</user_files_path>
  <format_schema_path>{{x .Data}}/format_schemas/</format_schema_path>
  <users_config>{{x .Users}}</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <timezone>UTC</timezone>
  <max_server_memory_usage>{{.Memory}}</max_server_memory_usage>
  <mark_cache_size>134217728</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <background_pool_size>4</background_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <access_control_improvements><table_engines_require_grant>true</table_engines_require_grant></access_control_improvements>
  <logger><level>warning</level><console>1</console></logger>
</clickhouse>
`))

// The library takes a write that the disk had no room for as done, and answers
// that rows are stored that are not. So inserts end well before the disk does.
var usersTemplate = template.Must(template.New(usersFile).Funcs(template.FuncMap{"x": escape}).Parse(`<clickhouse>
  <profiles>
    <default><async_insert>0</async_insert><implicit_select>0</implicit_select>
      {{- if .Library}}<min_free_disk_bytes_to_perform_insert>67108864</min_free_disk_bytes_to_perform_insert>{{end}}</default>
    <readonly><readonly>2</readonly><implicit_select>0</implicit_select></readonly>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>default</profile><quota>default</quota>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants>
    </default>
    <` + Username + `>
      <password_sha256_hex>{{.Password}}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>default</profile><quota>default</quota>
      <grants>
        <query>GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, CREATE TEMPORARY TABLE, DROP, TRUNCATE, OPTIMIZE, KILL QUERY, dictGet ON *.*</query>
        {{- range .Engines}}
        <query>GRANT TABLE ENGINE ON {{.}}</query>
        {{- end}}
        <query>REVOKE SHOW, SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, DROP, TRUNCATE, OPTIMIZE, dictGet ON default.*</query>
      </grants>
    </` + Username + `>
    <` + ReadOnly + `>
      <password_sha256_hex>{{.Password}}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>readonly</profile><quota>default</quota>
      <grants>
        <query>GRANT SHOW, SELECT ON *.*</query>
        <query>REVOKE SHOW, SELECT ON default.*</query>
      </grants>
    </` + ReadOnly + `>
    {{- range .More}}
    <{{.Name}}>
      <password_sha256_hex>{{$.Password}}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>default</profile><quota>default</quota>
      <grants>
        {{- range .Grants}}
        <query>{{x .}}</query>
        {{- end}}
      </grants>
    </{{.Name}}>
    {{- end}}
  </users>
</clickhouse>
`))

// tableEngines are those that don't reach outside the server.
func tableEngines() []string {
	return []string{"MergeTree", "ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "Memory", "Null", "View", "MaterializedView", "Merge", "Dictionary"}
}

// writeFiles writes what the server reads, for the owner's eyes only.
func writeFiles(cfg Config, kind engineKind, name string) error {
	sum := sha256.Sum256([]byte(cfg.Password))
	var config, users bytes.Buffer
	if err := configTemplate.Execute(&config, map[string]any{
		"Name": name, "Port": cfg.Port, "HTTPPort": cfg.HTTPPort, "Memory": cfg.Memory,
		"Data": filepath.Join(cfg.Dir, dataDir), "Users": filepath.Join(cfg.Dir, usersFile),
	}); err != nil {
		return fmt.Errorf("%s: %w", configFile, err)
	}
	if err := usersTemplate.Execute(&users, map[string]any{
		"Password": hex.EncodeToString(sum[:]), "Engines": tableEngines(), "Library": kind == libraryEngine, "More": cfg.Users,
	}); err != nil {
		return fmt.Errorf("%s: %w", usersFile, err)
	}
	for file, content := range map[string][]byte{
		configFile: config.Bytes(), usersFile: users.Bytes(), startFile: []byte(startSQL),
	} {
		path := filepath.Join(cfg.Dir, file)
		// A file that someone made readable stays so under WriteFile.
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("replace %s: %w", path, err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("write ClickHouse's configuration: %w", err)
		}
	}
	return os.MkdirAll(filepath.Join(cfg.Dir, dataDir), 0o700)
}

func escape(s string) (string, error) {
	var b bytes.Buffer
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}
