package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type receipt struct {
	Leaf, Checkpoint string
	Inclusion        struct {
		Index, Size int64
		Hashes      []string
	}
}

type trust struct {
	Origin string
	Keys   []struct {
		Purpose   string
		PublicKey string `json:"public_key"`
	}
}

func read(name string, value any) {
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, value)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	var r receipt
	var t trust
	read("receipt.json", &r)
	read("trust.json", &t)
	var known []note.Verifier
	for _, key := range t.Keys {
		der, err := base64.StdEncoding.DecodeString(key.PublicKey)
		if err != nil {
			log.Fatal(err)
		}
		if key.Purpose == "checkpoint" { // the last 32 bytes of the DER form are the key itself
			text, err := note.NewEd25519VerifierKey(t.Origin, der[len(der)-32:])
			if err != nil {
				log.Fatal(err)
			}
			verifier, err := note.NewVerifier(text)
			if err != nil {
				log.Fatal(err)
			}
			known = append(known, verifier)
		}
	}
	head, err := note.Open([]byte(r.Checkpoint), note.VerifierList(known...))
	if err != nil {
		log.Fatal(err)
	}
	lines := strings.Split(head.Text, "\n")
	size, _ := strconv.ParseInt(lines[1], 10, 64)
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		log.Fatal(err)
	}
	var proof tlog.RecordProof
	for _, text := range r.Inclusion.Hashes {
		var hash tlog.Hash
		hex.Decode(hash[:], []byte(text))
		proof = append(proof, hash)
	}
	if err := tlog.CheckRecord(proof, size, root, r.Inclusion.Index, tlog.RecordHash([]byte(r.Leaf))); err != nil {
		log.Fatal(err)
	}
	fmt.Println("record", r.Inclusion.Index, "is in the log", lines[0], "of", size, "records")
}
