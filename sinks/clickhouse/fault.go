package clickhouse

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/refundguard/refundguard/sinks"
)

// ClickHouse's own error codes that say more than "the server failed".
const (
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
	codeTimeout         = 159
	codeTooManyQueries  = 202
	codeSocketTimeout   = 209
	codeNetwork         = 210
	codeMemoryLimit     = 241
	codeTooManyParts    = 252
	codeAccessDenied    = 497
	codeAuthentication  = 516
	codeUnknownUser     = 192
	codeWrongPassword   = 193
	codeReadonly        = 164
	codeNoSuchColumn    = 16
	codeTypeMismatch    = 53
	codeNoSpace         = 243
	codeCannotWrite     = 75
)

// codesOfRows are ClickHouse's codes for a value that can't be stored. One that
// is missing here is taken for the server's own trouble, and waited out.
var codesOfRows = []int{
	6,   // CANNOT_PARSE_TEXT
	26,  // CANNOT_PARSE_QUOTED_STRING
	27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
	38,  // CANNOT_PARSE_DATE
	41,  // CANNOT_PARSE_DATETIME
	69,  // ARGUMENT_OUT_OF_BOUND
	70,  // CANNOT_CONVERT_TYPE
	72,  // CANNOT_PARSE_NUMBER
	117, // INCORRECT_DATA
	128, // TOO_LARGE_ARRAY_SIZE
	131, // TOO_LARGE_STRING_SIZE
	153, // ILLEGAL_DIVISION
	321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
	349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
	376, // CANNOT_PARSE_UUID
	395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
	407, // DECIMAL_OVERFLOW
	467, // CANNOT_PARSE_BOOL
	469, // VIOLATED_CONSTRAINT
	675, // CANNOT_PARSE_IPV4
	676, // CANNOT_PARSE_IPV6
	691, // UNKNOWN_ELEMENT_OF_ENUM
}

// fault says why op failed. Everything is Retryable: an answer that did not
// come says nothing about the rows, and what the server has against a row may
// be put right by an operator meanwhile.
func fault(op string, err error) error {
	if err == nil {
		return nil
	}
	return &sinks.Error{Op: op, Reason: reason(err), Retryable: true, Err: explain(err)}
}

func reason(err error) sinks.Reason {
	code, ok := serverCode(err)
	if !ok && !aboutRows(err) {
		return sinks.NetworkReason(err)
	}
	switch code {
	case codeAccessDenied, codeAuthentication, codeUnknownUser, codeWrongPassword, codeReadonly:
		return sinks.Denied
	case codeTooManyParts, codeTooManyQueries, codeMemoryLimit:
		return sinks.Overloaded
	case codeTimeout, codeSocketTimeout:
		return sinks.Timeout
	case codeNetwork:
		return sinks.Unreachable
	case codeUnknownTable, codeUnknownDatabase, codeNoSuchColumn, codeTypeMismatch:
		return sinks.Rejected
	case codeNoSpace, codeCannotWrite:
		return sinks.NoSpace
	}
	if aboutRows(err) {
		return sinks.Rejected
	}
	return sinks.Server
}

// aboutRows reports whether err is about what a row says, and not about the
// server, the table or us: another row may well be taken. Nothing was written
// then, unless it was a materialized view that failed.
func aboutRows(err error) bool {
	if value := new(columnError); errors.As(err, &value) {
		return true
	}
	code, _ := serverCode(err)
	return slices.Contains(codesOfRows, code)
}

// explain adds what to do, where the server's words don't say it.
func explain(err error) error {
	code, _ := serverCode(err)
	switch code {
	case codeUnknownDatabase:
		return advise(err, "there is no such database: run `refundguard migrate`, or set clickhouse.migrate; or is clickhouse.database right?")
	case codeUnknownTable, codeNoSuchColumn, codeTypeMismatch:
		return advise(err, "the tables are missing or not refundguard's: run `refundguard migrate`, or set clickhouse.migrate")
	case codeAuthentication, codeUnknownUser, codeWrongPassword:
		return advise(err, "check clickhouse.username and its password")
	case codeAccessDenied:
		if grant := missingGrant(err); grant != "" {
			return advise(err, "run "+grant)
		}
		return advise(err, "grant this to clickhouse.username")
	case codeReadonly:
		return advise(err, "clickhouse.username is read-only: "+readonlyAdvice)
	case codeNoSpace, codeCannotWrite:
		return advise(err, "the server has no space left: free some; what waits is written then")
	}
	return err
}

// readonlyAdvice is for a user whose profile has readonly set: no grant helps.
const readonlyAdvice = "name another one, or give it a profile without readonly"

var lackedGrant = regexp.MustCompile(`(\S+): Not enough privileges\..*? have the grant (.+? ON [^\s,;)]+)`)
var columnsOfGrant = regexp.MustCompile(`\([^)]*\)`)

// missingGrant is the statement that gives what the server says is lacking; of
// a whole table, where it names columns.
func missingGrant(err error) string {
	m := lackedGrant.FindStringSubmatch(err.Error())
	if m == nil {
		return ""
	}
	return "GRANT " + strings.TrimSuffix(columnsOfGrant.ReplaceAllString(m[2], ""), ".") + " TO " + quoteName(strings.Trim(m[1], "`"))
}

// quoteName is a name as a statement may have it.
func quoteName(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

// advise adds what an operator can do.
func advise(err error, advice string) error { return &advised{err, advice} }

type advised struct {
	err    error
	advice string
}

func (a *advised) Error() string { return a.err.Error() + ": " + a.advice }
func (a *advised) Unwrap() error { return a.err }

// serverCode is the code of an error that the server answered with.
func serverCode(err error) (int, bool) {
	if exception := new(ch.Exception); errors.As(err, &exception) {
		return int(exception.Code), true
	}
	return 0, false
}
