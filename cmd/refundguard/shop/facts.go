package shop

// The shape of a real shop's two years, as measured. Amounts are cents of the
// main currency, delays minutes.
var (
	purchaseAmount = quantiles{
		{0, 19}, {10_000, 375}, {30_000, 1_020}, {60_000, 2_195}, {100_000, 5_245}, {150_000, 9_840}, {200_000, 12_319},
		{300_000, 17_433}, {400_000, 23_305}, {500_000, 30_150}, {600_000, 34_540}, {700_000, 42_745}, {800_000, 58_013},
		{850_000, 70_463}, {900_000, 92_417}, {940_000, 128_280}, {970_000, 197_076}, {980_000, 257_077}, {990_000, 400_000},
		{994_000, 524_518}, {997_000, 711_268}, {999_000, 1_300_000}, {999_500, 1_853_230}, {999_900, 4_984_499}, {million, 16_846_960},
	}
	refundAmount = quantiles{
		{0, 42}, {10_000, 125}, {30_000, 195}, {60_000, 295}, {100_000, 415}, {150_000, 520}, {200_000, 680},
		{300_000, 995}, {400_000, 1_340}, {500_000, 1_730}, {600_000, 2_370}, {700_000, 3_600}, {800_000, 6_200},
		{850_000, 9_400}, {900_000, 20_000}, {940_000, 50_000}, {970_000, 150_000}, {980_000, 260_000}, {990_000, 480_000},
		{994_000, 620_000}, {997_000, 1_200_000}, {999_000, 3_000_000}, {million, 16_846_960},
	}
	// refundDelay gives 10.3 days in the middle and 83 days at nine tenths of
	// the refunds whose purchase is in the same year: late ones are cut off.
	refundDelay = quantiles{
		{0, 4}, {50_000, 20}, {100_000, 1_580}, {175_000, 3_450}, {250_000, 6_080}, {375_000, 10_100}, {500_000, 17_300},
		{625_000, 27_000}, {750_000, 57_000}, {830_000, 130_000}, {900_000, 225_000}, {950_000, 310_000}, {990_000, 400_000}, {million, 520_000},
	}
	// customerRank says how unequal customers are: of a million purchases, how
	// many are made by the first v millionths of all customers.
	customerRank = quantiles{
		{0, 0}, {30_500, 1_000}, {61_500, 2_500}, {97_700, 5_000}, {140_600, 10_000}, {197_900, 20_000}, {275_700, 40_000},
		{361_300, 70_000}, {428_300, 100_000}, {518_000, 150_000}, {591_200, 200_000}, {700_600, 300_000}, {782_700, 400_000},
		{846_200, 500_000}, {892_400, 600_000}, {930_600, 700_000}, {953_700, 800_000}, {976_800, 900_000}, {million, million},
	}
	// When the shop is busy. The products of three weights are a purchase's.
	monthWeight   = [12]uint64{1105, 1201, 1681, 1462, 1500, 1645, 1529, 1425, 1839, 2301, 2747, 1900}
	weekdayWeight = [7]uint64{2631, 3225, 3737, 3495, 4042, 2957, 30} // from Sunday on
	hourWeight    = [24]uint64{7: 48, 8: 432, 9: 1270, 10: 2249, 11: 2507, 12: 3207, 13: 2942, 14: 2614, 15: 2230, 16: 1383, 17: 740, 18: 274, 19: 186, 20: 35}
	// refundMinute is when in the day refunds are asked for, in minutes.
	refundMinute = quantiles{
		{0, 420}, {7_000, 480}, {28_000, 540}, {82_000, 600}, {183_000, 660}, {315_000, 720}, {437_000, 780}, {560_000, 840},
		{664_000, 900}, {757_000, 960}, {851_000, 1020}, {919_000, 1080}, {956_000, 1140}, {991_000, 1200}, {million, 1260},
	}
)

// Shares of a thousand. A purchase with a customer is refunded somewhat more
// often than a guest's; some purchases are refunded in several parts.
const (
	guestShare      = 84
	refundedShare   = 140
	refundedProne   = 520 // by every seventh customer
	refundedAsGuest = 102
	unlinkedShare   = 337 // refunds that don't say which purchase they are of
)

// refundParts is into how many refunds the refund of one purchase falls.
var refundParts = []choice{{"1", 890}, {"2", 94}, {"3", 13}, {"4", 3}}

// A country's money: currency units per 1,000 units of the main currency, and
// the currency's decimals.
type country struct {
	code, currency string
	rate           int64
	decimals       int
	weight         uint64
}

var countries = []country{
	{"US", "USD", 1000, 2, 904}, {"GB", "GBP", 790, 2, 26}, {"DE", "EUR", 920, 2, 20}, {"FR", "EUR", 920, 2, 13}, {"IE", "EUR", 920, 2, 12},
	{"NL", "EUR", 920, 2, 8}, {"ES", "EUR", 920, 2, 5}, {"SE", "SEK", 10_500, 2, 5}, {"JP", "JPY", 150_000, 0, 4}, {"CH", "CHF", 880, 2, 3},
}

// What a thousand records say in their enumerations.
var (
	purchaseMethods = []choice{{"card", 760}, {"wallet", 150}, {"balance", 40}, {"bank_transfer", 50}}
	channels        = []choice{{"web", 560}, {"app", 360}, {"store", 50}, {"phone", 30}}
	firstStatus     = []choice{{"captured", 770}, {"authorized", 180}, {"settled", 30}, {"failed", 20}}
	reasons         = []choice{{"defective", 320}, {"not_received", 200}, {"mis_operation", 160}, {"duplicate_charge", 60}, {"failed_transaction", 40}, {"unauthorized", 30}, {"other", 190}}
	refundMethods   = []choice{{"original", 886}, {"balance", 100}, {"bank_transfer", 14}}
	requesters      = []choice{{"customer", 720}, {"agent", 190}, {"merchant", 60}, {"api", 30}}
)
