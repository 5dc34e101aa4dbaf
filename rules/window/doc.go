// Package window keeps, per key, past events in order of event time, and
// counts and sums them over spans of time.
package window
