package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/internal/detect/model"
)

func newModel(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "model", GroupID: groupServer, Args: cobra.NoArgs,
		Short: "The learned score of web requests: show, train and evaluate it",
		Long: `The threat engine scores parameters of web requests by weights that were trained
on labelled values and are built into this program. These commands show where they
come from, train them again from the same data, and measure them by cross validation.`,
	}
	cmd.AddCommand(newModelShow(env), newModelTrain(env), newModelEval(env))
	return cmd
}

// shownModel is what model show prints with --json.
type shownModel struct {
	model.Info
	Digest string `json:"sha256"`
}

func newModelShow(env *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show", Args: cobra.NoArgs, Short: "Show where the built-in weights come from and what they are worth",
		RunE: func(*cobra.Command, []string) error {
			m, err := model.Default()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(env, shownModel{m.Info, m.Digest})
			}
			i := m.Info
			t := &table{heading: []string{"MODEL", i.Version}}
			t.add("weights, SHA-256", m.Digest)
			t.add("trained by", i.Command)
			t.add("training data, SHA-256", i.DataSHA256)
			t.add("values", fmt.Sprintf("%d of the file, %d made", i.Values, i.Generated))
			t.add("features, classes", fmt.Sprintf("%d, %s", i.Features, strings.Join(i.Classes, " ")))
			t.add("threshold", fmt.Sprint(i.Threshold))
			for _, c := range i.Classes {
				if p, ok := i.Found[c]; ok {
					t.add("found, "+c, fmt.Sprintf("%.2f %% (%d-fold cross validation)", p, i.Folds))
				}
			}
			t.add("harmless flagged", fmt.Sprintf("%.2f %%", i.Flagged))
			t.add("Brier score", fmt.Sprintf("%.4f on the file, %.4f on made values", i.Brier, i.BrierOdd))
			t.add("calibration error", fmt.Sprintf("%.4f on the file, %.4f on made values", i.ECE, i.ECEOdd))
			return t.print(env.Stdout, colours(env, env.Stdout))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

func newModelTrain(env *Env) *cobra.Command {
	var data, out string
	var seed uint64
	cmd := &cobra.Command{
		Use: "train", Args: cobra.NoArgs, Short: "Train the weights again",
		Long: `Trains on DIR/web/httpparams/payload_train.csv and on values that are made from the
seed, and writes the weights. The same data, seed and program give the same bytes on
processors of one kind. A program has the weights that it was built with
(internal/detect/model/weights.bin).`,
		Example: "  cybervault model train --data data --seed 7 --out weights.bin",
		RunE: func(*cobra.Command, []string) error {
			raw, _, err := model.Train(data, seed)
			if err != nil {
				return err
			}
			m, err := model.Read(raw)
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, raw, 0o644); err != nil { //nolint:gosec // weights are no secret
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "%s: %d bytes, SHA-256 %s\n", out, len(raw), m.Digest)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "folder of the data sets")
	cmd.Flags().StringVar(&out, "out", "", "file to write the weights to")
	cmd.Flags().Uint64Var(&seed, "seed", 7, "what the made values and the order of training follow from")
	for _, name := range []string{"data", "out"} {
		_ = cmd.MarkFlagRequired(name) // only an unknown name fails
	}
	return cmd
}

func newModelEval(env *Env) *cobra.Command {
	var data string
	var seed uint64
	var asJSON bool
	cmd := &cobra.Command{
		Use: "eval", Args: cobra.NoArgs, Short: "Measure the learned score by cross validation",
		Long: `Trains five times, each time without a fifth of the labelled values, and judges that
fifth: rates by class, Brier score, expected calibration error, and how many of the
values at each score were attacks. Made values are judged with texts of other seeds;
they come of the same grammar as those trained on, so their figures flatter.`,
		RunE: func(*cobra.Command, []string) error {
			e, err := model.Evaluate(data, seed)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(env, e)
			}
			if err := printResult(env, "LABELLED FILE", e.File); err != nil {
				return err
			}
			return printResult(env, "MADE VALUES", e.Made)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "folder of the data sets")
	cmd.Flags().Uint64Var(&seed, "seed", 7, "as for train")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	_ = cmd.MarkFlagRequired("data")
	return cmd
}

func printResult(env *Env, title string, r model.Result) error {
	if _, err := fmt.Fprintf(env.Stdout, "%s: %d values, Brier score %.4f, expected calibration error %.4f\n\n", title, r.Values, r.Brier, r.ECE); err != nil {
		return err
	}
	rates := &table{heading: []string{"CLASS", "VALUES", "ABOVE THRESHOLD", "PERCENT", "NAMED RIGHTLY"}}
	for _, c := range r.Classes {
		rates.add(c.Class, fmt.Sprint(c.Values), fmt.Sprint(c.Above), fmt.Sprintf("%.2f", c.Percent), fmt.Sprint(c.Named))
	}
	if err := rates.print(env.Stdout, colours(env, env.Stdout)); err != nil {
		return err
	}
	reliability := &table{heading: []string{"SCORE FROM", "VALUES", "MEAN SCORE", "SHARE OF ATTACKS"}}
	for _, b := range r.Bins {
		reliability.add(fmt.Sprintf("%.1f", b.From), fmt.Sprint(b.Values), fmt.Sprintf("%.3f", b.Mean), fmt.Sprintf("%.3f", b.Attacks))
	}
	if _, err := fmt.Fprintln(env.Stdout); err != nil {
		return err
	}
	if err := reliability.print(env.Stdout, colours(env, env.Stdout)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(env.Stdout)
	return err
}

func printJSON(env *Env, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\n", raw)
	return err
}
