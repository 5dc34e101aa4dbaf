// Package starter holds a first rule set: what most shops and payment companies
// want to see held, ready to be copied and changed, with its tests and lists.
package starter

import "embed"

// FS holds the rule files, their tests, their lists and the schema for editors.
// Load it with rules.LoadFS, which leaves the tests alone.
//
//go:embed *.yaml rules.schema.json lists/*.csv
var FS embed.FS
