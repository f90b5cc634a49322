// Files that a person drops or chooses, with the paths they have inside what was dropped.

export interface Given {
  /** What the document is known by: its path inside the folder, or its name. */
  location: string;
  file: File;
}

const MOST = 5000;
const LEFT_OUT = new Set(["node_modules", "__pycache__", "venv", "site-packages", "target", "Thumbs.db"]);

/** Hidden files, caches and packages are left out, as the server leaves them out of a folder. */
export function wanted(location: string): boolean {
  return location.split("/").every((part) => part !== "" && !part.startsWith(".") && !LEFT_OUT.has(part));
}

export function chosen(files: FileList): Given[] {
  return [...files].map((file) => ({ location: file.webkitRelativePath || file.name, file })).filter(({ location }) => wanted(location)).slice(0, MOST);
}

/** What was dropped, folders with all that is in them. Must be called while the drop is being handled. */
export async function dropped(data: DataTransfer): Promise<Given[]> {
  const out: Given[] = [];
  const entries: FileSystemEntry[] = [];
  for (const item of data.items) {
    const entry = item.webkitGetAsEntry();
    const file = entry ? null : item.getAsFile(); // of a mail or another page: a file without a place
    if (entry) entries.push(entry);
    else if (file) out.push({ location: file.name, file });
  }
  for (const entry of entries) await walk(entry, out);
  return out;
}

async function walk(entry: FileSystemEntry, out: Given[]): Promise<void> {
  const location = entry.fullPath.replace(/^\//, "");
  if (out.length >= MOST || !wanted(location)) return;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    out.push({ location, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // Chromium gives a hundred at a time, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inside of some) await walk(inside, out);
  }
}
