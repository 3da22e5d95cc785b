package sim

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable prints runs, one a line, in their order.
func WriteTable(w io.Writer, runs []*Run) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "policy\tcache bytes\tobject hit ratio\tbyte hit ratio\twritten/missed\tns/request\t")
	for _, r := range runs {
		fmt.Fprintf(t, "%s\t%d\t%.2f %%\t%.2f %%\t%.3f\t%d\t\n", r.Policy, r.Size, 100*r.ObjectRatio, 100*r.ByteRatio, r.WriteRatio, r.PerRequest.Nanoseconds())
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}
