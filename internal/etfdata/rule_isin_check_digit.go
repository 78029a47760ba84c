package etfdata

// ISO 6166: letters count as two digits (A is 10), then the Luhn sum over all
// digits, every second one from the right doubled, ends in zero. An ETF
// without an ISIN breaks nothing here.
var isinCheckDigit = Rule{
	Name: "isin-check-digit", Severity: Warning,
	Title: "ISINs are well-formed and their check digit is right",
	Needs: []string{"etfs.isin"},
	view:  etfs, where: always(`e.isin <> '' AND (e.isin !~ '^[A-Z]{2}[A-Z0-9]{9}[0-9]$' OR (
		SELECT sum(CASE WHEN place % 2 = 1 THEN digit ELSE digit * 2 / 10 + digit * 2 % 10 END) % 10 <> 0
		FROM (SELECT place, d::int AS digit FROM string_to_table(reverse((
			SELECT string_agg(CASE WHEN ascii(c) < 65 THEN c ELSE (ascii(c) - 55)::text END, '' ORDER BY i)
			FROM string_to_table(e.isin, NULL) WITH ORDINALITY AS letters (c, i)
			WHERE c ~ '^[A-Z0-9]$')), NULL) WITH ORDINALITY AS digits (d, place)) AS luhn))`),
}
