// Files out of a drop or an input, folders walked, each with its path below what was chosen.

export interface Chosen {
  file: File;
  /** Relative, with '/' between folders. */
  path: string;
}

/** The files of an <input type="file">, with webkitdirectory or without. */
export function fromInput(list: FileList): Chosen[] {
  return Array.from(list, (file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/**
 * The files of a drop. The entries must be taken before the first await, for the browser empties the drop when its
 * event ends. Folders and files that cannot be read are named in failed.
 */
export async function fromDrop(data: DataTransfer): Promise<{ chosen: Chosen[]; failed: string[] }> {
  const entries: FileSystemEntry[] = [];
  const chosen: Chosen[] = [];
  const failed: string[] = [];
  for (const item of Array.from(data.items)) {
    const entry = item.kind === "file" ? item.webkitGetAsEntry() : null;
    if (entry) {
      entries.push(entry);
      continue;
    }
    const file = item.kind === "file" ? item.getAsFile() : null;
    if (file) {
      chosen.push({ file, path: file.name });
    }
  }
  for (const e of entries) {
    await walk(e, chosen, failed);
  }
  return { chosen, failed };
}

async function walk(entry: FileSystemEntry, chosen: Chosen[], failed: string[]): Promise<void> {
  const path = entry.fullPath.replace(/^\//, "");
  try {
    if (entry.isFile) {
      const file = await new Promise<File>((ok, no) => (entry as FileSystemFileEntry).file(ok, no));
      chosen.push({ file, path });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      // A reader gives a folder in portions and an empty one at its end.
      const some = await new Promise<FileSystemEntry[]>((ok, no) => reader.readEntries(ok, no));
      if (some.length === 0) {
        return;
      }
      for (const e of some) {
        await walk(e, chosen, failed);
      }
    }
  } catch {
    failed.push(path);
  }
}
