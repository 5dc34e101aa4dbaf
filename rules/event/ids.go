package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// DecisionID names one decision of a refund: ordinal 0 is the first, verdicts
// follow. The same input gives the same id on every machine and in every
// version, so that receivers can drop repeats.
func DecisionID(refundID string, ordinal int) string {
	return hashID("refundguard/decision/1", refundID, strconv.Itoa(ordinal))
}

// AlertID names an alert by what makes it one, e.g. a decision and a rule. Which
// parts these are, and in which order, is the caller's contract.
func AlertID(parts ...string) string {
	return hashID("refundguard/alert/1", parts...)
}

// LabelID names a label by its source and by what that made it of, e.g. the id of
// a review. Which parts these are, and in which order, is the contract of the
// source's writer: the same again must give the same id.
func LabelID(source string, parts ...string) string {
	return hashID("refundguard/label/1", append([]string{source}, parts...)...)
}

// hashID is 128 bits of SHA-256, in hex. The length before each part keeps
// ("ab","c") and ("a","bc") apart; the domain keeps kinds of ids apart.
func hashID(domain string, parts ...string) string {
	var stack [256]byte
	buf := appendPart(stack[:0], domain)
	for _, p := range parts {
		buf = appendPart(buf, p)
	}
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:16])
}

func appendPart(buf []byte, part string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(part)))
	return append(buf, part...)
}
