package sign

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// A sealed message carries a key set to one node:
//
//	magic and version  8 bytes
//	sender             32, public identity
//	recipient          32, public identity
//	ephemeral          32, public X25519 key, new for each message
//	box                AES-256-GCM of the key set; the nonce is derived with the key, what stands before is authenticated with it
//
// Key and nonce come by HKDF-SHA256 from DH(ephemeral, recipient) and DH(sender, recipient), with the head as info: AuthEncap of RFC 9180 §4.1 in its
// shape. So only the recipient can read the message, and only the sender can have made it, or the recipient itself: it does not prove to a third party who
// sent it, and whoever has the recipient's secret can make messages for the recipient in any name (RFC 9180 §9.1.1). A message has no time: the serial
// of the key set keeps a recipient from going back to an older one, see KeySet.Supersedes.
const (
	sealMagic = "PGDKEYS\x01"
	sealHead  = len(sealMagic) + 3*32
	maxSealed = sealHead + maxSet + 16
)

// ErrSealed says that a sealed message is damaged, forged, or meant for another node. Which of these is not told apart.
var ErrSealed = errors.New("sealed keys: the message is not for this node or not whole")

// ErrUntrusted says that the sender of a sealed message is none of those whose messages count. Whether it is the sender was not looked at.
var ErrUntrusted = errors.New("sealed keys: their sender is not trusted")

// Seal returns a message that carries the set to one node.
func Seal(set *KeySet, from *Identity, to PublicIdentity) ([]byte, error) {
	plain, err := set.Marshal()
	if err != nil {
		return nil, err
	}
	if len(plain) > maxSet {
		return nil, fmt.Errorf("seal keys: the set has %d bytes, at most %d travel", len(plain), maxSet)
	}
	return seal(sealMagic, plain, from, to)
}

// seal makes a message of the kind that magic names, which is as long as sealMagic.
func seal(magic string, plain []byte, from *Identity, to PublicIdentity) ([]byte, error) {
	peer, err := ecdh.X25519().NewPublicKey(to[:])
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	sender := from.Public()
	head := append([]byte(magic), sender[:]...)
	head = append(head, to[:]...)
	head = append(head, ephemeral.PublicKey().Bytes()...)
	one, err := ephemeral.ECDH(peer)
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	two, err := from.private.ECDH(peer)
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	box, nonce, err := boxOf(one, two, head)
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	return box.Seal(head, nonce, plain, head), nil
}

// Open reads a message that Seal made for the node to. Trusted says whose key sets the node takes; it is asked before anything is decrypted. The error is
// ErrSealed when the message is not good, and wraps ErrUntrusted when its sender is not trusted.
func Open(message []byte, to *Identity, trusted func(PublicIdentity) bool) (*KeySet, PublicIdentity, error) {
	plain, sender, err := unseal(sealMagic, maxSealed, message, to, trusted)
	if err != nil {
		return nil, sender, err
	}
	set, err := Parse(plain)
	return set, sender, err
}

// unseal opens a message of the kind that magic names.
func unseal(magic string, limit int, message []byte, to *Identity, trusted func(PublicIdentity) bool) ([]byte, PublicIdentity, error) {
	var sender PublicIdentity
	if len(message) < sealHead+16 || len(message) > limit {
		return nil, sender, ErrSealed
	}
	head, rest := message[:sealHead], message[sealHead:]
	at := len(magic)
	if string(head[:at]) != magic {
		return nil, sender, ErrSealed
	}
	sender = PublicIdentity(head[at : at+32])
	if PublicIdentity(head[at+32:at+64]) != to.Public() {
		return nil, sender, ErrSealed
	}
	if !trusted(sender) {
		return nil, sender, fmt.Errorf("%w: %s", ErrUntrusted, sender)
	}
	one, err := exchange(to, head[at+64:])
	if err != nil {
		return nil, sender, ErrSealed
	}
	two, err := exchange(to, sender[:])
	if err != nil {
		return nil, sender, ErrSealed
	}
	box, nonce, err := boxOf(one, two, head)
	if err != nil {
		return nil, sender, ErrSealed
	}
	plain, err := box.Open(nil, nonce, rest, head)
	if err != nil {
		return nil, sender, ErrSealed
	}
	return plain, sender, nil
}

// exchange returns the secret that to shares with a public key; it fails for points of small order, which share the same secret with everybody.
func exchange(to *Identity, public []byte) ([]byte, error) {
	peer, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return to.private.ECDH(peer)
}

func boxOf(one, two, head []byte) (cipher.AEAD, []byte, error) {
	const keySize, nonceSize = 32, 12
	secret := append(append(make([]byte, 0, len(one)+len(two)), one...), two...)
	out, err := hkdf.Key(sha256.New, secret, nil, string(head), keySize+nonceSize)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(out[:keySize])
	if err != nil {
		return nil, nil, err
	}
	box, err := cipher.NewGCM(block)
	return box, out[keySize:], err
}
