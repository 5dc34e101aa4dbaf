package main

// The part of Grafana's dashboard JSON that the dashboards use, under Grafana's
// own names.

type dashboard struct {
	UID           string     `json:"uid"`
	Title         string     `json:"title"`
	Description   string     `json:"description"`
	Tags          []string   `json:"tags"`
	SchemaVersion int        `json:"schemaVersion"`
	Editable      bool       `json:"editable"`
	GraphTooltip  int        `json:"graphTooltip"`
	Timezone      string     `json:"timezone"`
	Refresh       string     `json:"refresh"`
	Time          timeRange  `json:"time"`
	Annotations   list       `json:"annotations"`
	Templating    list       `json:"templating"`
	Links         []any      `json:"links"`
	Panels        []*panel   `json:"panels"`
	variables     []variable // beside the data sources
	changes       bool       // annotations where the rule set changed
}

type timeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type list struct {
	List []any `json:"list"`
}

type object = map[string]any

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

var (
	clickhouse = datasource{"grafana-clickhouse-datasource", "${clickhouse}"}
	prometheus = datasource{"prometheus", "${prometheus}"}
)

type variable struct {
	Name        string      `json:"name"`
	Label       string      `json:"label"`
	Description string      `json:"description"`
	Type        string      `json:"type"`
	Datasource  *datasource `json:"datasource,omitempty"`
	Query       any         `json:"query"`
	Definition  string      `json:"definition,omitempty"`
	Refresh     int         `json:"refresh,omitempty"`
	Sort        int         `json:"sort,omitempty"`
	Multi       bool        `json:"multi,omitempty"`
	IncludeAll  bool        `json:"includeAll,omitempty"`
	Current     object      `json:"current"`
	Options     []any       `json:"options,omitempty"`
}

type panel struct {
	ID            int         `json:"id"`
	Type          string      `json:"type"`
	Title         string      `json:"title"`
	Description   string      `json:"description,omitempty"`
	GridPos       gridPos     `json:"gridPos"`
	Datasource    *datasource `json:"datasource,omitempty"`
	Targets       []target    `json:"targets,omitempty"`
	Interval      string      `json:"interval,omitempty"`
	FieldConfig   *fieldConf  `json:"fieldConfig,omitempty"`
	Options       object      `json:"options,omitempty"`
	Collapsed     *bool       `json:"collapsed,omitempty"`
	Panels        []any       `json:"panels,omitempty"`
	PluginVersion string      `json:"pluginVersion,omitempty"`
}

type gridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// target is a query: SQL where RawSQL is set, else PromQL.
type target struct {
	RefID      string     `json:"refId"`
	Datasource datasource `json:"datasource"`

	PluginVersion string `json:"pluginVersion,omitempty"`
	EditorType    string `json:"editorType,omitempty"`
	RawSQL        string `json:"rawSql,omitempty"`
	QueryType     string `json:"queryType,omitempty"`
	Format        any    `json:"format,omitempty"` // a number in SQL, a name in PromQL

	EditorMode   string `json:"editorMode,omitempty"`
	Expr         string `json:"expr,omitempty"`
	LegendFormat string `json:"legendFormat,omitempty"`
	Instant      *bool  `json:"instant,omitempty"`
	Range        *bool  `json:"range,omitempty"`
}

type fieldConf struct {
	Defaults  fieldDefaults `json:"defaults"`
	Overrides []override    `json:"overrides"`
}

type fieldDefaults struct {
	Unit        string      `json:"unit"`
	Decimals    *int        `json:"decimals,omitempty"`
	Min         *float64    `json:"min,omitempty"`
	Max         *float64    `json:"max,omitempty"`
	DisplayName string      `json:"displayName,omitempty"`
	NoValue     string      `json:"noValue"`
	Color       object      `json:"color"`
	Thresholds  *thresholds `json:"thresholds,omitempty"`
	Mappings    []object    `json:"mappings,omitempty"`
	Links       []object    `json:"links,omitempty"`
	Custom      object      `json:"custom,omitempty"`
}

type thresholds struct {
	Mode  string `json:"mode"`
	Steps []step `json:"steps"`
}

// step is a colour from a value on; the first has none.
type step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

type override struct {
	Matcher    object   `json:"matcher"`
	Properties []object `json:"properties"`
}
