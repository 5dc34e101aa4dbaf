package event

// Currency is an ISO 4217 code packed into 16 bits (base 26, "AAA" is 1); 0 is
// no currency.
type Currency uint16

// iso4217 holds the codes of ISO 4217 by their first letter: the other two, and
// the number of decimals of the currency's minor unit, "-" where it has none
// (gold, test codes).
var iso4217 = ['Z' + 1]string{
	'A': "ED2 FN2 LL2 MD2 OA2 RS2 UD2 WG2 ZN2",
	'B': "AM2 BD2 DT2 HD3 IF0 MD2 ND2 OB2 OV2 RL2 SD2 TN2 WP2 YN2 ZD2",
	'C': "AD2 DF2 HE2 HF2 HW2 LF4 LP0 NY2 OP2 OU2 RC2 UP2 VE2 ZK2",
	'D': "JF0 KK2 OP2 ZD2",
	'E': "GP2 RN2 TB2 UR2",
	'F': "JD2 KP2",
	'G': "BP2 EL2 HS2 IP2 MD2 NF0 TQ2 YD2",
	'H': "KD2 NL2 TG2 UF2",
	'I': "DR2 LS2 NR2 QD3 RR2 SK0",
	'J': "MD2 OD3 PY0",
	'K': "ES2 GS2 HR2 MF0 PW2 RW0 WD3 YD2 ZT2",
	'L': "AK2 BP2 KR2 RD2 SL2 YD3",
	'M': "AD2 DL2 GA2 KD2 MK2 NT2 OP2 RU2 UR2 VR2 WK2 XN2 XV2 YR2 ZN2",
	'N': "AD2 GN2 IO2 OK2 PR2 ZD2",
	'O': "MR3",
	'P': "AB2 EN2 GK2 HP2 KR2 LN2 YG0",
	'Q': "AR2",
	'R': "ON2 SD2 UB2 WF0",
	'S': "AR2 BD2 CR2 DG2 EK2 GD2 HP2 LE2 OS2 RD2 SP2 TN2 VC2 YP2 ZL2",
	'T': "HB2 JS2 MT2 ND3 OP2 RY2 TD2 WD2 ZS2",
	'U': "AH2 GX0 SD2 SN2 YI0 YU2 YW4 ZS2",
	'V': "ED2 ES2 ND0 UV0",
	'W': "ST2",
	'X': "AD2 AF0 AG- AU- BA- BB- BC- BD- CD2 CG2 DR- OF0 PD- PF0 PT- SU- TS- UA- XX-",
	'Y': "ER2",
	'Z': "AR2 MW2 WG2",
}

// ParseCurrency finds an upper-case ISO 4217 code that exists. Codes that were
// withdrawn are not found.
func ParseCurrency(code string) (Currency, bool) {
	if len(code) != 3 || code[0]-'A' > 25 || code[1]-'A' > 25 || code[2]-'A' > 25 {
		return 0, false
	}
	row := iso4217[code[0]]
	for i := 0; i+2 < len(row); i += 4 {
		if row[i] == code[1] && row[i+1] == code[2] {
			return pack(code), true
		}
	}
	return 0, false
}

func pack(code string) Currency {
	return (Currency(code[0]-'A')*26+Currency(code[1]-'A'))*26 + Currency(code[2]-'A') + 1
}

// maxCurrency is "ZZZ".
const maxCurrency Currency = 26 * 26 * 26

// letters are the three letters of c, which must be 1…maxCurrency.
func (c Currency) letters() [3]byte {
	c--
	return [3]byte{'A' + byte(c/(26*26)), 'A' + byte(c/26%26), 'A' + byte(c%26)}
}

// String is the code, or "" for no currency.
func (c Currency) String() string {
	if c == 0 || c > maxCurrency {
		return ""
	}
	l := c.letters()
	return string(l[:])
}

// MinorUnits is the number of decimals that amounts of this currency are
// written with: 2 where ISO 4217 doesn't know the currency, or gives it none.
func (c Currency) MinorUnits() int {
	if c == 0 || c > maxCurrency {
		return 2
	}
	l := c.letters()
	row := iso4217[l[0]]
	for i := 0; i+2 < len(row); i += 4 {
		if row[i] == l[1] && row[i+1] == l[2] {
			if isDigit(row[i+2]) {
				return int(row[i+2] - '0')
			}
			break
		}
	}
	return 2
}
