// Package update fetches geo data on a schedule and puts it into use.
//
// An Updater has a source for each file that makes up a DB: an http or https URL, an edition of MaxMind's update service, or a file. A run asks every
// source whether it has something newer (ETag, Last-Modified, MD5 of the file at hand); downloads what is new into a directory beside the file, unpacked
// and bounded in size; checks the publisher's checksum, then the file (geo.Verify), then the whole set against the data in use (geo.Holder.Check); and only
// then renames the new files into place and puts them into use. The files that were there stay, as geo.Previous names them.
//
// Until the first rename nothing that is in use has changed: a run that fails, or a process that dies, leaves the old files. One that dies between the
// renames of several files leaves a set that the next start opens or, if its parts do not fit together, replaces by the previous one.
//
// It is no mirror and no general downloader: it knows .mmdb files and compact tables, as they are or in gzip or tar and gzip. It does not decide which data is good
// enough; that is package geo. An Updater starts no goroutine of its own: Run works until its context ends.
//
// Addresses outside the public Internet are not asked: the transport sees to that, see Config.Transport.
package update
