package etfdata

// Those that the service has rates for, the euro, and pence. A price whose
// original currency is not known (NULL) came in EUR.
var currencyOriginal = Rule{
	Name: "currency-original", Severity: Fault,
	Title: "prices were converted from a currency that has rates",
	Needs: []string{"etf_prices.original_currency"},
	view:  prices, where: always("p.original_currency NOT IN ('EUR', 'USD', 'GBp', 'CHF', 'GBP', 'JPY', 'CAD', 'AUD', 'SEK', 'DKK', 'NOK', 'SGD', 'HKD')"),
}
