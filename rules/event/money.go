package event

// Money is an exact amount in 1/10,000 of a currency's unit.
type Money int64

// Currency is an ISO 4217 code packed into 16 bits (base 26, "AAA" is 1); 0 is
// no currency.
type Currency uint16
