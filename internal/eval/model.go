package main

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/cybervault/cybervault/internal/detect/model"
)

// modelFigures say whether the weights that are built in come of the data and
// the seed that they name, and how they do on values they were not trained on.
type modelFigures struct {
	Digest    string       `json:"sha256"`
	Retrained string       `json:"retrained_sha256"`
	File      model.Result `json:"file"`
	Made      model.Result `json:"generated"`
}

func evalModel(dir string) (modelFigures, error) {
	var out modelFigures
	m, err := model.Default()
	if err != nil {
		return out, err
	}
	raw, eval, err := model.Train(dir, m.Info.Seed)
	if err != nil {
		return out, err
	}
	sum := sha256.Sum256(raw)
	out.Digest, out.Retrained, out.File, out.Made = m.Digest, hex.EncodeToString(sum[:]), eval.File, eval.Made
	return out, nil
}
