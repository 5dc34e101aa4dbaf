package clickhouse

import (
	"errors"

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
)

// fault says why op failed. Everything is Retryable: an answer that did not
// come says nothing about the rows, and whatever the server has against them is
// for an operator to put right, without a row being lost meanwhile.
func fault(op string, err error) error {
	if err == nil {
		return nil
	}
	return &sinks.Error{Op: op, Reason: reason(err), Retryable: true, Err: explain(err)}
}

func reason(err error) sinks.Reason {
	code, ok := serverCode(err)
	if !ok {
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
	}
	return sinks.Server
}

// explain adds what to do, where the server's words don't say it.
func explain(err error) error {
	code, _ := serverCode(err)
	advice := ""
	switch code {
	case codeUnknownDatabase, codeUnknownTable, codeNoSuchColumn, codeTypeMismatch:
		advice = "the tables are missing or not refundguard's: run `refundguard migrate`, or set clickhouse.migrate"
	case codeAuthentication, codeUnknownUser, codeWrongPassword:
		advice = "check clickhouse.username and its password"
	case codeAccessDenied, codeReadonly:
		advice = "grant this to clickhouse.username"
	}
	if advice == "" {
		return err
	}
	return &advised{err, advice}
}

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
