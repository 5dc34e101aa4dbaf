//go:build race

package rules

// raceDetector says that times mean nothing.
const raceDetector = true
