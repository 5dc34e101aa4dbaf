package clickhouse

// carried are the fields that records of a kind have where they are known, so
// that their messages can show no value of these that isn't there. A kind that
// isn't here carries none.
var carried = map[kind][]string{
	decisionRecords: {"customer_id", "merchant_id"},
	alertRecords:    {"customer_id", "merchant_id", "device_id", "instrument_id"},
	statusRecords:   {"customer_id"},
}
