// mdBook takes every link to a .md file for one within the book. Those that leave it are files of the repository.
document.querySelectorAll("main a[href]").forEach((link) => {
  const href = link.getAttribute("href");
  if (href.startsWith(path_to_root + "../")) {
    link.setAttribute("href", href.replace(/\.html(#|$)/, ".md$1"));
  }
});
