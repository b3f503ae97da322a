#!/usr/bin/env python3
"""Makes a C++ header of the page: embed_page.py PAGE.html OUT.hpp

Its script is named by its hash in a content security policy, so that nothing else on the page can run, whatever a model writes.
"""
import base64
import hashlib
import re
import sys
from pathlib import Path

page = Path(sys.argv[1]).read_text()
scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
assert len(scripts) == 1, "the page has one script"
digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
policy = (f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src 'self'; "
          "img-src data:; base-uri 'none'; form-action 'none'")
marker = "<!-- content security policy -->"
assert marker in page
page = page.replace(marker, f'<meta http-equiv="Content-Security-Policy" content="{policy}">')
parts = [page[i:i + 8000] for i in range(0, len(page), 8000)]
assert ')page"' not in page
literal = "\n".join(f'  R"page({part})page"' for part in parts)
Path(sys.argv[2]).write_text(f"""// Made of serve/page/page.html by tools/support/embed_page.py.
#pragma once

#include <string_view>

namespace troupe::serve {{

inline constexpr std::string_view page_html =
{literal};

}} // namespace troupe::serve
""")
